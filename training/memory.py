"""Peak memory of this process while something runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

EVERY_S = 0.05


@dataclass
class Peak:
    """The most resident memory that was seen, and what was there at the beginning and at the end, MiB."""

    mib: float = 0.0
    before: float = 0.0
    after: float = 0.0

    @property
    def added(self) -> float:
        """The peak over what was there before."""
        return self.mib - self.before

    @property
    def held(self) -> float:
        """What stayed."""
        return max(self.after - self.before, 0.0)


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Looks at the resident memory twenty times a second until the block ends."""
    process, done = psutil.Process(), threading.Event()
    start = process.memory_info().rss / 2**20
    peak = Peak(start, start, start)

    def watch() -> None:
        while True:
            peak.mib = max(peak.mib, process.memory_info().rss / 2**20)
            if done.wait(EVERY_S):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.after = process.memory_info().rss / 2**20
