"""The linear item filter at serving time: a reader's weighted history times the rows of S."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]


class ItemFilter:
    """S [n_works, n_works] in CSR, top K a row; how S is made is in `training.train_item_filter`."""

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix
        self._indptr, self._indices = matrix.indptr, matrix.indices
        self._data = matrix.data.astype(np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_works, n_works)."""
        rows, columns = self.matrix.shape
        return int(rows), int(columns)

    def scores(self, history: Sequence[int], weights: Sequence[float]) -> Floats:
        """sum_h weights[h] * S[h, :], float32 [n_works]; zeros for an empty history."""
        n = self.shape[1]
        spans = [slice(int(self._indptr[h]), int(self._indptr[h + 1])) for h in history]
        if not spans:
            return np.zeros(n, dtype=np.float32)
        columns = np.concatenate([self._indices[span] for span in spans])
        values = np.concatenate([self._data[span] * w for span, w in zip(spans, weights, strict=True)])
        return np.bincount(columns, weights=values, minlength=n).astype(np.float32)
