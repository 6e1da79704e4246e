"""Reader-kNN: what readers like that have read the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field
from scipy import sparse

from training.dataset import Dataset
from training.kernels import product
from training.linear_filter import damped
from training.params import Options, Params
from training.recommenders.base import Batch, Floats, Recommender, read_values, write_values


class ReaderKnnParams(Params):
    """Config of `reader_knn`."""

    reader_power: float = Field(0.3, ge=0, le=1, description="How strongly long histories are damped.")
    work_power: float = Field(0.3, ge=0, le=1, description="How strongly popular works are damped.")
    sharpness: float = Field(1.3, gt=0, description="Power of the likeness of readers: above 1 the nearest count most.")


@dataclass(frozen=True)
class ReaderKnnRecommender(Recommender):
    """Likeness of a history to every trained reader's, to a power, times what these have read.

    A trained reader is no neighbour of the same row.
    """

    Config = ReaderKnnParams
    readers: sparse.csr_matrix  # damped likings, [n_trained, n_works]
    sharpness: float

    @classmethod
    def fit(cls, data: Dataset, config: ReaderKnnParams, options: Options) -> Self:
        """The damped training rows."""
        readers = damped(data.train(), config.reader_power, config.work_power).astype(np.float32)
        return cls(sparse.csr_matrix(readers), config.sharpness)

    def scores(self, batch: Batch) -> Floats:
        """likeness^sharpness R."""
        near = sparse.csr_matrix(batch.histories @ self._read_by)
        owner = np.repeat(batch.rows, np.diff(near.indptr))
        near.data = np.where(near.indices == owner, 0.0, near.data**self.sharpness).astype(np.float32)
        return product(near, self.readers)

    @cached_property
    def _read_by(self) -> sparse.csr_matrix:
        """The rows of works, [n_works, n_trained]."""
        return sparse.csr_matrix(self.readers.T)

    def save(self, folder: Path) -> None:
        """Write the readers' rows."""
        folder.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(folder / "readers.npz", self.readers, compressed=False)
        write_values(folder / "reader_knn.json", {"sharpness": self.sharpness})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the readers' rows."""
        readers = sparse.csr_matrix(sparse.load_npz(folder / "readers.npz"))
        return cls(readers, **read_values(folder / "reader_knn.json"))
