"""Threads of its own for a kind of request, first come first served, so that no kind takes the threads of another."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bookworks.settings import Settings
from serving.problems import RETRY_AFTER_S, Problem

T = TypeVar("T")


def computing_threads(settings: Settings) -> int:
    """How many compute answers in a worker, by the settings."""
    return settings.service_threads or (2 if settings.qdrant_url else 1)


class Lane:
    """A few threads and a bounded number of requests that run or wait; used on one event loop only."""

    def __init__(self, name: str, threads: int, waiting_max: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._name, self._waiting_max = name, waiting_max
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether the next one is refused."""
        return self.waiting >= self._waiting_max

    async def run(self, do: Callable[[], T]) -> T:
        """The result of `do`.

        Raises:
            Problem: 503, too many wait already.
        """
        if self.full:
            raise Problem(
                503,
                f"Too many requests wait ({self._name})",
                todo="try again shortly.",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self.waiting += 1
        in_context = contextvars.copy_context()  # of the trace
        task = asyncio.get_running_loop().run_in_executor(self._threads, in_context.run, do)
        task.add_done_callback(self._done)
        return await task

    def _done(self, _: object) -> None:
        self.waiting -= 1
