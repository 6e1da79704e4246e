"""Loops over a few readers' scores that NumPy and SciPy do in several passes, compiled by Numba.

None holds the interpreter's lock, so that parts of the readers can be worked on side by side.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bookworks.errors import ContractError
from bookworks.models.compiled import compiled
from bookworks.models.item_item import add_largest

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_reordered = partial(compiled, fastmath={"reassoc", "contract"})  # sums in any order, as vectors


def product(left: sparse.csr_matrix, right: sparse.csr_matrix | Floats) -> Floats:
    """left @ right, dense, float32 [n, m].

    Args:
        left: [n, k].
        right: sparse or dense, float32 [k, m].

    Raises:
        ContractError: the shapes do not fit together.
    """
    _check(left.shape[1] == right.shape[0], left, right)
    found = np.zeros((left.shape[0], right.shape[1]), dtype=np.float32)
    entries = left.indptr, left.indices, left.data.astype(np.float32, copy=False)
    if isinstance(right, np.ndarray):
        _add_rows(*entries, right, found)
    else:
        rows = right.tocsr()
        _add_entries(*entries, rows.indptr, rows.indices, rows.data, found)
    return found


def largest(histories: sparse.csr_matrix, likeness: sparse.csr_matrix, works: Ints) -> Floats:
    """The largest likeness, at least 0, of each work to one of the reader's history, float32 [n_readers, n].

    Args:
        histories: [n_readers, n_works].
        likeness: float32 [n_works, n_works].
        works: each once a reader; below 0 stands for none, [n_readers, n].

    Raises:
        ContractError: the shapes do not fit together.
    """
    fits = histories.shape[1] == likeness.shape[0] and len(works) == histories.shape[0]
    _check(fits and works.max(initial=-1) < likeness.shape[1], histories, likeness, works)
    found = np.zeros(works.shape, dtype=np.float32)
    place = np.empty(likeness.shape[1], dtype=np.int32)
    add_largest(
        histories.indptr, histories.indices, likeness.indptr, likeness.indices, likeness.data, works, place, found
    )
    return found


def standardised(scores: Floats, total: Floats | None = None, weight: float = 0.0) -> Floats:
    """Scores less the mean of their row and divided by its deviation; in place. A constant row becomes zeros.

    Args:
        scores: [n_readers, n_works].
        total: grows by `weight` times them, of the same shape.
        weight: 0 leaves `total` as it is.

    Raises:
        ContractError: the shapes differ.
    """
    if total is None or not weight:
        total = np.zeros((0, 0), dtype=np.float32)
    else:
        _check(total.shape == scores.shape, total, scores)
    _standardise(scores, total, np.float32(weight))
    return scores


def _check(fits: bool, *matrices: sparse.csr_matrix | Floats | Ints) -> None:
    """Compiled loops look at no bounds, so shapes are looked at here."""
    if not fits:
        raise ContractError("Matrices do not fit together", received=", ".join(str(one.shape) for one in matrices))


@compiled
def _add_entries(starts, columns, values, of_row, of_column, of_value, found):  # type: ignore[no-untyped-def]
    for row in range(len(starts) - 1):
        sums = found[row]
        for at in range(starts[row], starts[row + 1]):
            for entry in range(of_row[columns[at]], of_row[columns[at] + 1]):
                sums[of_column[entry]] += values[at] * of_value[entry]


@compiled
def _add_rows(starts, columns, values, rows, found):  # type: ignore[no-untyped-def]
    for row in range(len(starts) - 1):
        sums, at, end = found[row], starts[row], starts[row + 1]
        while at + 4 <= end:  # by four, so that the sums are read and written a fourth as often
            one, two, three, four = (
                rows[columns[at]], rows[columns[at + 1]], rows[columns[at + 2]], rows[columns[at + 3]]
            )  # fmt: skip
            a, b, c, d = values[at], values[at + 1], values[at + 2], values[at + 3]
            for column in range(len(sums)):
                sums[column] += a * one[column] + b * two[column] + c * three[column] + d * four[column]
            at += 4
        while at < end:
            one, a = rows[columns[at]], values[at]
            for column in range(len(sums)):
                sums[column] += a * one[column]
            at += 1


@_reordered
def _standardise(scores, sums, weight):  # type: ignore[no-untyped-def]
    for row in range(len(scores)):
        values = scores[row]
        base, total, squares = values[0], 0.0, 0.0  # less any value of the row: so a constant one has no spread
        for at in range(len(values)):
            off = values[at] - base
            total += off
            squares += off * off
        off = total / len(values)
        mean, spread = np.float32(base + off), np.sqrt(max(squares / len(values) - off * off, 0.0))
        scale = np.float32(1.0 / spread if spread > 1e-12 else 1.0)
        if len(sums):
            into = sums[row]
            for at in range(len(values)):
                values[at] = (values[at] - mean) * scale
                into[at] += weight * values[at]
        else:
            for at in range(len(values)):
                values[at] = (values[at] - mean) * scale
