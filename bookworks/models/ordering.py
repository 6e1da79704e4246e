"""The order of falling scores, and the best of many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
BLOCK = 64  # of so many scores, evenly spread, the largest is looked at first when the best of many are sought
_PLACE = 0xFFFFFFFF


def falling(scores: Floats) -> Ints:
    """The places of falling scores, of equals the first, along the last axis; none of them NaN."""
    return np.sort(_keys(scores), axis=-1) & _PLACE


def top(scores: Floats, n: int) -> Ints:
    """Places of the `n` best finite scores of one row, best first; of equals the first."""
    near = _at_least_the_best(scores, n)
    if near is not None:
        return np.asarray(near[top(scores[near], n)])
    keys = _keys(scores)
    if n < keys.size:
        keys = np.partition(keys, n)[:n]
    places = np.sort(keys) & _PLACE
    return np.asarray(places[np.isfinite(scores[places])])


def _keys(scores: Floats) -> Ints:
    """Of each score and its place one whole number; these rise as the scores fall, and then with the place.

    Bits of a float rise with it, below 0 once they are turned round. Whole numbers are sorted several times as fast as
    a stable sort of floats takes.
    """
    bits = (np.float32(0.0) - np.asarray(scores, dtype=np.float32)).view(np.int32).astype(np.int64)
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (rising << 32) | np.arange(scores.shape[-1], dtype=np.int64)


def _at_least_the_best(scores: Floats, n: int) -> Ints | None:
    """Rising places among which the `n` best are, or None where looking for them spares nothing.

    The n-th largest of the blocks' maxima is no larger than the n-th largest score.
    """
    blocks = scores.size // BLOCK
    if blocks <= 2 * n:
        return None
    maxima = scores[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)
    near = np.flatnonzero(scores >= np.partition(maxima, blocks - n)[blocks - n])
    return near if near.size <= scores.size // 2 else None
