"""Loops over numbers that NumPy does in several passes, compiled by Numba when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any


def compiled(loop: Callable[..., None], **options: Any) -> Callable[..., None]:
    """The function as machine code that holds no lock of the interpreter; nothing checks the places that it is given.

    Where a folder can be written to (`NUMBA_CACHE_DIR`, the module's own, or the user's) the code is kept there for the
    next process, else each process compiles, about a second for all. The loop itself raises nothing.

    Args:
        loop: writes what it finds into an array that it is given.
        options: further ones of Numba's `njit`.
    """

    kept = True

    @cache
    def made(kept: bool) -> Callable[..., None]:
        from numba import njit

        return njit(nogil=True, error_model="numpy", cache=kept, **options)(loop)  # type: ignore[no-any-return]

    @wraps(loop)
    def call(*arguments: Any) -> None:
        nonlocal kept
        try:
            made(kept)(*arguments)
        except Exception:  # no folder for the code, no room, or what is there is damaged: anything that pickle raises
            if not kept:
                raise
            kept = False
            made(kept)(*arguments)

    return call
