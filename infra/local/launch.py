"""Become a supervised program: `python launch.py SPEC.json`. Standard library only, so that it starts at once.

The specification (mode 600, written by `bookworks up`) holds command, environment, folder and user; so nothing secret
is in supervisord's configuration or in any process's arguments. A program that keeps falling over is started with
growing pauses, for ever, as what it waits for may still come.
"""

import ctypes
import json
import os
import pwd
import sys
import time
from pathlib import Path

STEADY_S = 30.0  # who ran for so long is started again at once
LONGEST_PAUSE_S = 30.0
PR_SET_CHILD_SUBREAPER = 36


def pause_before(previous: list[float], now: float) -> float:
    """Seconds to wait before this start.

    Args:
        previous: times of the earlier starts, oldest first.
        now: the time, on the same clock.
    """
    quick, later = 0, now
    for start in reversed(previous):
        if later - start > STEADY_S + min(2.0**quick, LONGEST_PAUSE_S):
            break
        quick, later = quick + 1, start
    return 0.0 if quick == 0 else min(2.0 ** (quick - 1), LONGEST_PAUSE_S)


def main(path: Path) -> None:
    """Wait if need be, note the process down, and become the program."""
    spec = json.loads(path.read_text())
    folder = path.parent
    if spec["daemon"]:
        if os.fork():
            os._exit(0)
        os.setsid()
        # What its programs leave behind comes back to it, and so is found by `down`.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    else:
        _slow_down(folder / f"{spec['name']}.starts")
    note = folder / f".{spec['name']}.pid"
    note.write_text(json.dumps({"pid": os.getpid(), "started_at": time.time()}))
    note.replace(folder / f"{spec['name']}.pid")
    os.chdir(spec["cwd"])
    if spec["user"] is not None:
        user = pwd.getpwnam(spec["user"])
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606


def _slow_down(history: Path) -> None:
    try:
        previous = json.loads(history.read_text())[-10:]
    except (OSError, ValueError):
        previous = []
    pause = pause_before(previous, time.time())
    if pause:
        print(f"bookworks: it ended shortly after its start; next try in {pause:.0f} s", flush=True)
        time.sleep(pause)
    history.write_text(json.dumps([*previous, time.time()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
