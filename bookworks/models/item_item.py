"""Item-item models as they serve: a reader's weighted history times the rows of a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class ItemItem:
    """S [n_works, n_works] in CSR; how each is made is in `training.recommenders`."""

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_works, n_works)."""
        rows, columns = self.matrix.shape
        return int(rows), int(columns)

    def scores(self, history: Sequence[int], weights: Sequence[float]) -> Floats:
        """sum_h weights[h] * S[h, :], float32 [n_works]; zeros for an empty history."""
        n = self.shape[1]
        spans = _rows(self.matrix, history)
        if not spans:
            return np.zeros(n, dtype=np.float32)
        columns = np.concatenate([self.matrix.indices[span] for span in spans])
        values = np.concatenate(
            [self.matrix.data[span] * np.float64(w) for span, w in zip(spans, weights, strict=True)]
        )
        return np.bincount(columns, weights=values, minlength=n).astype(np.float32)


def largest(matrix: csr_matrix, read: Sequence[int] | npt.NDArray[np.integer], works: Ints) -> Floats:
    """max_h S[h, w] over the works `read`, at least 0, float32 [len(works)]; `works` are different ones."""
    found = np.zeros(len(works), dtype=np.float32)
    spans = _rows(matrix, read)
    if not spans:
        return found
    place = np.full(matrix.shape[1], -1, dtype=np.int32)
    place[works] = np.arange(len(works), dtype=np.int32)
    at = place[np.concatenate([matrix.indices[span] for span in spans])]
    values = np.concatenate([matrix.data[span] for span in spans])
    np.maximum.at(found, at[at >= 0], values[at >= 0])
    return found


def _rows(matrix: csr_matrix, which: Sequence[int] | npt.NDArray[np.integer]) -> list[slice]:
    """Where the entries of these rows are."""
    return [slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1])) for row in which]
