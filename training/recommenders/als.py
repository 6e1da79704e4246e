"""Implicit ALS. Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from training.dataset import Dataset
from training.params import Options, Params
from training.recommenders.base import Batch, Floats, Recommender, read_values, write_values


class AlsParams(Params):
    """Section `train_als`."""

    factors: int = Field(256, ge=1)
    iterations: int = Field(10, ge=1)
    regularization: float = Field(0.05, gt=0)
    alpha: float = Field(60.0, gt=1, description="Confidence of a liking of 1.")


@dataclass(frozen=True)
class AlsRecommender(Recommender):
    """Each reader's vector is solved from the history, so that nobody is unknown."""

    Config = AlsParams
    works: Floats  # [n_works, factors]
    regularization: float
    alpha: float

    @classmethod
    def fit(cls, data: Dataset, config: AlsParams, options: Options) -> Self:
        """Factors of the works, from the training rows."""
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=config.factors,
                iterations=config.iterations,
                regularization=config.regularization,
                alpha=config.alpha,
                num_threads=options.threads,
                random_state=options.seed,
            )
            model.fit(data.train().astype(np.float32), show_progress=False)
        return cls(np.asarray(model.item_factors, dtype=np.float32), config.regularization, config.alpha)

    def scores(self, batch: Batch) -> Floats:
        """x_u Y' with x_u = (Y'Y + Y'(C_u - I)Y + reg I)^-1 Y'C_u p_u (equation 4)."""
        return (self.readers(batch.histories) @ self.works.T).astype(np.float32, copy=False)

    def readers(self, histories: sparse.csr_matrix) -> Floats:
        """Vectors of readers, float32 [n, factors]; those with histories of one length are solved together."""
        vectors = np.zeros((histories.shape[0], self.works.shape[1]), dtype=np.float32)
        lengths = np.diff(histories.indptr)
        for length in np.unique(lengths[lengths > 0]):
            rows = np.flatnonzero(lengths == length)
            at = histories.indptr[rows][:, None] + np.arange(length)
            vectors[rows] = self._solve(histories.indices[at], histories.data[at])
        return vectors

    @cached_property
    def _solved(self) -> Floats:
        """Y (Y'Y + reg I)^-1, [n_works, factors]."""
        works = self.works.astype(np.float64)
        gram = works.T @ works + self.regularization * np.eye(works.shape[1])
        return np.linalg.solve(gram, works.T).T.astype(np.float32)

    @cached_property
    def directions(self) -> Floats:
        """The works' factors, rows of length 1, [n_works, factors]."""
        return self.works / np.maximum(np.linalg.norm(self.works, axis=1, keepdims=True), 1e-9)

    def _solve(self, liked: npt.NDArray[np.int32], weights: Floats) -> Floats:
        """By the Woodbury identity: systems as large as the history in place of ones as large as the vector.

        Args:
            liked: works, [n, length].
            weights: likings, [n, length].
        """
        confidence = self.alpha * weights
        solved = self._solved[liked]
        inner = (confidence - 1.0)[:, :, None] * (self.works[liked] @ solved.transpose(0, 2, 1))
        places = np.arange(liked.shape[1])
        inner[:, places, places] += 1.0
        found = np.linalg.solve(inner, confidence[:, :, None])
        vectors: Floats = (solved.transpose(0, 2, 1) @ found)[:, :, 0]
        return vectors

    def save(self, folder: Path) -> None:
        """Write the works' factors and both constants."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "works.npy", self.works)
        write_values(folder / "als.json", {"regularization": self.regularization, "alpha": self.alpha})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the works' factors and both constants."""
        return cls(np.load(folder / "works.npy"), **read_values(folder / "als.json"))


class SmallAlsParams(AlsParams):
    """Config of `als_small`."""

    factors: int = Field(96, ge=1)


class SmallAlsRecommender(AlsRecommender):
    """The same with shorter vectors: broader tastes, another voice in a blend."""

    Config = SmallAlsParams
