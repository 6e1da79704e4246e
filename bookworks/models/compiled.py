"""Loops over numbers that NumPy does in several passes, compiled by Numba when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """The function as machine code that holds no lock of the interpreter; nothing checks the places that it is given.

    Where a folder can be written to (`NUMBA_CACHE_DIR`, the module's own, or the user's) the code is kept there for the
    next process, else each process compiles, about a second for all.
    """

    @cache
    def made() -> Callable[..., None]:
        from numba import njit

        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return njit(cache=True, **options)(loop)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder for it
            return njit(**options)(loop)  # type: ignore[no-any-return]

    @wraps(loop)
    def call(*arguments: Any) -> None:
        made()(*arguments)

    return call
