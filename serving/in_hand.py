"""How many requests each worker has in hand, on a page of memory that all workers of a service see."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

PAGE = "SERVICE_IN_HAND_PAGE"  # environment variable: its file
_WORKERS, _ABSENT = 512, -1
_MORE = 1  # by so many a worker may have more than another


def make_page(path: Path) -> None:
    """A page on which no worker is yet, for the workers that this process starts."""
    path.write_bytes(np.full(_WORKERS, _ABSENT, dtype=np.int64).tobytes())
    os.environ[PAGE] = str(path)


class InHand:
    """The counts; a worker changes its own alone, on its event loop. It is absent until `open`, and after `close`."""

    def __init__(self, path: Path, worker: int) -> None:
        with path.open("r+b") as file:
            self._all = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.int64)
        self._own = worker % _WORKERS
        self.close()  # what a worker before it left

    @classmethod
    def here(cls, worker: int) -> InHand | None:
        """Of this worker; None where nobody has made a page."""
        path = os.environ.get(PAGE)
        return cls(Path(path), worker) if path else None

    def open(self) -> None:
        """Tell the others that this worker takes requests, and has none."""
        self._all[self._own] = 0

    def close(self) -> None:
        """Tell the others that this worker takes no more."""
        self._all[self._own] = _ABSENT

    def add(self, n: int) -> None:
        """Count requests that come, or below 0 that go."""
        self._all[self._own] += n

    @property
    def too_many(self) -> bool:
        """Whether another worker has clearly fewer; one that was killed counts until another has its place."""
        own = self._all[self._own]
        fewest = self._all[self._all != _ABSENT].min(initial=own)
        return bool(own > fewest + _MORE)
