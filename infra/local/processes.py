"""Which processes belong to a stack, also when its supervisor is gone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from infra.local.layout import Layout
from infra.local.server import MARKER

SAME_START_S = 2.0  # a recorded process began so long, at most, before it was recorded


def recorded(layout: Layout, program: str) -> tuple[psutil.Process, float] | None:
    """The process that a program's pid file speaks of, if it still is that one, and since when it runs."""
    try:
        note = json.loads((layout.run / f"{program}.pid").read_text())
        process = psutil.Process(int(note["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE or process.create_time() > note["started_at"] + SAME_START_S:
            return None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return process, float(note["started_at"])


def of_stack(layout: Layout) -> list[psutil.Process]:
    """Every process of the stack: marked in its environment, recorded in a pid file, or begotten by such a one.

    Some servers overwrite their environment with their title; those are found through pid files (each program leads
    a process group, which outlives it) and parents.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(layout.state):
                found[process.pid] = process
    groups = {pid for note in layout.run.glob("*.pid") if (pid := _group(layout, note.stem)) is not None}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) in groups:
                found[process.pid] = process
    for process in list(found.values()):
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    ours = _self_and_parents()
    return [process for pid, process in found.items() if pid not in ours and alive(process)]


def _group(layout: Layout, program: str) -> int | None:
    """The process group that a program leads or led; None when its number is another process's by now."""
    known = recorded(layout, program)
    if known is not None:
        return known[0].pid
    try:
        pid = int(json.loads((layout.run / f"{program}.pid").read_text())["pid"])
        return None if alive(psutil.Process(pid)) else pid
    except (OSError, ValueError):
        return None
    except psutil.NoSuchProcess:
        return pid


def _self_and_parents() -> set[int]:
    """`bookworks down` may itself be called from within the stack."""
    me = psutil.Process()
    return {me.pid} | {parent.pid for parent in me.parents()}


def alive(process: psutil.Process) -> bool:
    """Whether it runs (a zombie does not)."""
    with suppress(psutil.Error):
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: Iterable[psutil.Process], patience_s: float = 10.0) -> list[psutil.Process]:
    """Ask each to end, then make it end; returns those that even so are still there."""
    waiting = [process for process in processes if alive(process)]
    for process in waiting:
        with suppress(psutil.Error):
            process.terminate()
    waiting = _wait(waiting, patience_s)
    for process in waiting:
        with suppress(psutil.Error):
            process.kill()
    return _wait(waiting, 5.0)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    until = time.monotonic() + seconds
    while (left := [process for process in processes if alive(process)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def memory_mb(process: psutil.Process) -> float:
    """Memory of the process and its children, MiB; shared pages are split among those who share them."""
    total = 0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total / 2**20


def holder_of(port: int) -> str:
    """Who listens on a port, in words."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                with suppress(psutil.Error):
                    process = psutil.Process(connection.pid) if connection.pid else None
                    return f"{process.name()} (pid {process.pid})" if process else "another user's process"
    return f"a process that uid {os.getuid()} cannot see"
