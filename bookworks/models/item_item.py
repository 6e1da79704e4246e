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


class Marked:
    """Works, each once, found in any order; to look for few marks among many flags takes longer than to sort them.

    Attributes:
        flags: of each work whether it is among them, bool [n_works].
        works: their indices, then anything, int32 [n_works].
        count: how many they are, int64 [1].
    """

    def __init__(self, n_works: int) -> None:
        self.flags, self.works = np.zeros(n_works, dtype=np.bool_), np.empty(n_works, dtype=np.int32)
        self.count = np.zeros(1, dtype=np.int64)

    def add(self, works: Ints) -> None:
        """Mark works.

        Raises:
            ContractError: works that there are not.
        """
        found = _within(works, self.flags.size)
        _mark(np.array([0, found.size]), found, np.zeros(1, dtype=np.int64), self.flags, self.works, self.count)

    @property
    def rising(self) -> Ints:
        """Their indices, rising."""
        return np.sort(self.works[: self.count[0]]).astype(np.int64)


class ItemItem:
    """S [n_works, n_works] in CSR; how each is made is in `training.recommenders`."""

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_works, n_works)."""
        rows, columns = self.matrix.shape
        return int(rows), int(columns)

    def mark(self, history: Sequence[int], marked: Marked) -> None:
        """Mark every work that a work of the history has an entry for.

        Raises:
            ContractError: the history has works that there are not, or the marks are of other works.
        """
        if marked.flags.size != self.shape[1]:
            raise ContractError("The marks are of other works", received=marked.flags.size, allowed=f"{self.shape[1]}")
        read = _within(history, self.shape[0])
        _mark(self.matrix.indptr, self.matrix.indices, read, marked.flags, marked.works, marked.count)

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
        read, weighed = _within(history, self.shape[0]), np.asarray(weights, dtype=np.float64)
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
    own, asked = _within(read, matrix.shape[0]), _within(works, matrix.shape[0])
    entries = matrix.indptr, matrix.indices, matrix.data
    add_largest(np.array([0, own.size]), own, *entries, asked[None], place, found[None])
    return found


def _within(works: Sequence[int] | Ints, n: int) -> Ints:
    """The works as an array, each of them one of `n`: the loops look no more."""
    found = np.asarray(works, dtype=np.int64)
    if found.size and (found.min() < 0 or found.max() >= n):
        raise ContractError("No such work index", received=f"{found.min()} to {found.max()}", allowed=f"0 to {n - 1}")
    return found


@compiled
def _mark(starts, columns, history, flags, works, count):  # type: ignore[no-untyped-def]
    for work in history:
        for at in range(starts[work], starts[work + 1]):
            if not flags[columns[at]]:
                flags[columns[at]] = True
                works[count[0]] = columns[at]
                count[0] += 1


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
