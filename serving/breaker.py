"""A breaker for an optional part: after a failure it is left alone for a moment, so that no request waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from circuitbreaker import CircuitBreaker

from bookworks.errors import TransientError

T = TypeVar("T")


class Breaker:
    """Open (not called) for `rest_s` seconds after each `TransientError`."""

    def __init__(self, name: str, rest_s: float = 1.0) -> None:
        self.name = name
        self._circuit = CircuitBreaker(
            failure_threshold=1, recovery_timeout=rest_s, expected_exception=TransientError, name=name
        )

    def call(self, do: Callable[[], T]) -> T:
        """The result of `do`.

        Raises:
            TransientError: `do` raised it now, or less than `rest_s` ago.
        """
        if self._circuit.opened:
            raise TransientError(f"{self.name} did not answer a moment ago", todo="try again in a second.")
        found: T = self._circuit.call(do)
        return found
