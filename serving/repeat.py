"""Something small that a worker does again and again, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("bookworks.serving")


class Repeated:
    """Calls `do` at once and then every `every_s` seconds; a failure is logged, and the next round tries again."""

    def __init__(self, name: str, every_s: float, do: Callable[[], None]) -> None:
        self._name, self._every_s, self._do = name, every_s, do
        self._stop, self._once = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; waits for nothing."""
        self._thread.start()

    def wait_for_first(self, timeout_s: float) -> bool:
        """Wait until the first round has ended; whether it has."""
        return self._once.wait(timeout_s)

    def close(self) -> None:
        """End after the round that runs."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            try:
                self._do()
            except Exception:  # the thread must live
                logger.exception("a round of %s failed", self._name)
            self._once.set()
            if self._stop.wait(self._every_s):
                return
