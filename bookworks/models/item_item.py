"""Item-item models as they serve: a reader's weighted history times the rows of a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from bookworks.errors import ContractError
from bookworks.models.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


class ItemItem:
    """S [n_works, n_works] in CSR; how each is made is in `training.recommenders`."""

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_works, n_works)."""
        rows, columns = self.matrix.shape
        return int(rows), int(columns)

    def mark(self, history: Sequence[int], marked: npt.NDArray[np.bool_]) -> None:
        """Set `marked` [n_works] at every work that a work of the history has an entry for.

        Raises:
            ContractError: the history has works that there are not.
        """
        _mark(self.matrix.indptr, self.matrix.indices, _within(history, self.matrix), marked)

    def scores(
        self, history: Sequence[int], weights: Sequence[float], places: tuple[Places, int] | None = None
    ) -> Floats:
        """sum_h weights[h] * S[h, :], float32 [n_works]; zeros for an empty history.

        Args:
            history: work indices.
            weights: of each.
            places: of each work its place among those that are asked for, all that `mark` marks being among them, and
                how many these are: the scores are theirs.

        Raises:
            ContractError: the history has works that there are not, or not as many as weights.
        """
        place, n = places or (np.empty(0, dtype=np.int32), self.shape[1])
        read, weighed = _within(history, self.matrix), np.asarray(weights, dtype=np.float64)
        if read.shape != weighed.shape:
            raise ContractError("History and weights differ in length", received=f"{read.size} and {weighed.size}")
        sums, matrix = np.zeros(n), self.matrix
        _add(matrix.indptr, matrix.indices, matrix.data, read, weighed, place, sums)
        return sums.astype(np.float32)


def largest(matrix: csr_matrix, read: Sequence[int] | Ints, works: Ints) -> Floats:
    """max_h S[h, w] over the works `read`, at least 0, float32 [len(works)]; `works` are different ones.

    Raises:
        ContractError: works that there are not.
    """
    found, place = np.zeros(len(works), dtype=np.float32), np.empty(matrix.shape[1], dtype=np.int32)
    own, asked = _within(read, matrix), _within(works, matrix)
    entries = matrix.indptr, matrix.indices, matrix.data
    add_largest(np.array([0, own.size]), own, *entries, asked[None], place, found[None])
    return found


def _within(works: Sequence[int] | Ints, matrix: csr_matrix) -> Ints:
    """The works as an array, each of them a row: the loops look no more."""
    found, n = np.asarray(works, dtype=np.int64), int(matrix.shape[0])
    if found.size and (found.min() < 0 or found.max() >= n):
        raise ContractError("No such work index", received=f"{found.min()} to {found.max()}", allowed=f"0 to {n - 1}")
    return found


@compiled
def _mark(starts, columns, history, marked):  # type: ignore[no-untyped-def]
    for work in history:
        for at in range(starts[work], starts[work + 1]):
            marked[columns[at]] = True


@compiled
def _add(starts, columns, values, history, weights, place, sums):  # type: ignore[no-untyped-def]
    for number, work in enumerate(history):
        for at in range(starts[work], starts[work + 1]):
            column = columns[at]
            sums[place[column] if place.size else column] += weights[number] * values[at]


@compiled
def add_largest(starts, columns, of_row, of_column, of_value, works, place, found):  # type: ignore[no-untyped-def]
    """The largest entry of each of `works` [n_readers, n], below 0 none, in the rows of each reader's history.

    `place` [n_works] may hold anything: it holds where the work that is there says so.
    """
    for row in range(len(starts) - 1):
        for at, work in enumerate(works[row]):
            if work >= 0:
                place[work] = at
        for at in range(starts[row], starts[row + 1]):
            for entry in range(of_row[columns[at]], of_row[columns[at] + 1]):
                own = place[of_column[entry]]
                if 0 <= own < works.shape[1] and works[row, own] == of_column[entry]:
                    found[row, own] = max(found[row, own], of_value[entry])
