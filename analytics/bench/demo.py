"""Wall time and peak memory of `bookworks demo`, all servers and jobs counted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import psutil

from analytics.bench.report import Figure
from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT, Settings

SAMPLE_S = 2.0


def measure(settings: Settings, arguments: list[str], rounds: int) -> list[Figure]:
    """Seconds and peak MiB of each round of the demo."""
    seconds, peaks = [], []
    for _ in range(rounds):
        sampler = MemorySampler(settings.state_dir)
        sampler.start()
        started = monotonic()
        line = [sys.executable, "-m", "bookworks.cli.main", "demo", *arguments]
        environment = os.environ | {"BOOKWORKS_STATE_DIR": str(settings.state_dir)}
        code = subprocess.run(line, cwd=PROJECT_ROOT, env=environment, check=False).returncode
        seconds.append(monotonic() - started)
        peaks.append(sampler.stop())
        if code:
            raise TransientError("The demo failed, so its time says nothing", received=f"exit code {code}")
    return [Figure("demo", "s", seconds), Figure("peak_memory_of_all_processes", "MiB", peaks)]


class MemorySampler(threading.Thread):
    """Samples the proportional memory (PSS) of the processes that belong to one stack.

    A process belongs when its environment, or that of an ancestor, names the stack's state folder.
    """

    def __init__(self, state_dir: Path) -> None:
        super().__init__(daemon=True)
        self._state_dir = str(state_dir)
        self._done = threading.Event()
        self._peak = 0

    def run(self) -> None:
        """Sample until stopped."""
        while not self._done.wait(SAMPLE_S):
            self._peak = max(self._peak, sum(pss(process) for process in members(self._state_dir)))

    def stop(self) -> float:
        """End sampling; the peak in MiB."""
        self._done.set()
        self.join()
        return self._peak / 2**20


def members(state_dir: str) -> set[psutil.Process]:
    """Processes of the stack, and all that they started."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BOOKWORKS_STATE_DIR") == state_dir:
                found |= {process, *process.children(recursive=True)}
    return found


def pss(process: psutil.Process) -> int:
    """Proportional memory of a process in bytes, shared pages divided among those that share them; 0 when gone."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
