"""A breaker for an optional part: after a failure it is left alone for a moment, so that no request waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bookworks.errors import TransientError

T = TypeVar("T")


class Breaker:
    """Open (not called) for `rest_s` seconds after each `TransientError`."""

    def __init__(self, name: str, rest_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._rest_s, self._clock = name, rest_s, clock
        self._closed_again = 0.0

    def call(self, do: Callable[[], T]) -> T:
        """The result of `do`.

        Raises:
            TransientError: `do` raised it now, or less than `rest_s` ago.
        """
        if self._clock() < self._closed_again:
            raise TransientError(f"{self.name} did not answer a moment ago", todo="try again in a second.")
        try:
            return do()
        except TransientError:
            self._closed_again = self._clock() + self._rest_s
            raise
