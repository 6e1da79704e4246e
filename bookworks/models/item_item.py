"""Item-item models as they serve: a reader's weighted history times the rows of a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

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

    def neighbours(self, history: Sequence[int]) -> npt.NDArray[np.int32]:
        """Works that a work of the history has an entry for, in no order, some of them repeatedly."""
        return _joined(self.matrix.indices, _rows(self.matrix, history))

    def scores(
        self, history: Sequence[int], weights: Sequence[float], places: tuple[Places, int] | None = None
    ) -> Floats:
        """sum_h weights[h] * S[h, :], float32 [n_works]; zeros for an empty history.

        Args:
            history: work indices.
            weights: of each.
            places: of each work its place among those that are asked for, all `neighbours` being among them, and how
                many these are: the scores are theirs.
        """
        place, n = places or (None, self.shape[1])
        spans = _rows(self.matrix, history)
        if not spans:
            return np.zeros(n, dtype=np.float32)
        columns = _joined(self.matrix.indices, spans)
        lengths = [span.stop - span.start for span in spans]
        values = _joined(self.matrix.data, spans) * np.repeat(np.asarray(weights, dtype=np.float64), lengths)
        at = columns if place is None else place[columns]
        return np.bincount(at, weights=values, minlength=n).astype(np.float32)


def largest(matrix: csr_matrix, read: Sequence[int] | npt.NDArray[np.integer], works: Ints) -> Floats:
    """max_h S[h, w] over the works `read`, at least 0, float32 [len(works)]; `works` are different ones."""
    found = np.zeros(len(works), dtype=np.float32)
    spans = _rows(matrix, read)
    if not spans or not len(works):
        return found
    columns, values = _joined(matrix.indices, spans), _joined(matrix.data, spans)
    order = np.argsort(works)
    rising = np.asarray(works)[order]
    at = np.minimum(np.searchsorted(rising, columns), len(works) - 1)
    there = rising[at] == columns
    np.maximum.at(found, order[at[there]], values[there])
    return found


def _rows(matrix: csr_matrix, which: Sequence[int] | npt.NDArray[np.integer]) -> list[slice]:
    """Where the entries of these rows are."""
    rows = np.asarray(which, dtype=np.int64)
    return list(map(slice, matrix.indptr[rows].tolist(), matrix.indptr[rows + 1].tolist()))


def _joined(entries: npt.NDArray[Any], spans: list[slice]) -> npt.NDArray[Any]:
    """The entries of these spans, one after the other."""
    return np.concatenate([entries[:0], *(entries[span] for span in spans)])
