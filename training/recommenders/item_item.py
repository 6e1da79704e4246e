"""Models that are one item-item matrix: a reader's scores are the history times it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.linalg import lapack

from training.dataset import Dataset
from training.kernels import product
from training.linear_filter import keep_top, linear_item_filter
from training.params import Options, Params
from training.recommenders.base import Batch, Floats, Recommender


@dataclass(frozen=True)
class ItemItemRecommender(Recommender):
    """R S, S sparse, float32 [n_works, n_works]."""

    matrix: sparse.csr_matrix

    def scores(self, batch: Batch) -> Floats:
        """R S for the batch."""
        return product(batch.histories, self.matrix)

    def save(self, folder: Path) -> None:
        """Write S."""
        folder.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(folder / "item_filter.npz", self.matrix, compressed=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read S."""
        return cls(sparse.csr_matrix(sparse.load_npz(folder / "item_filter.npz")))


class ItemFilterParams(Params):
    """Config of `item_filter`."""

    reader_power: float = Field(0.25, ge=0, le=1)
    work_power: float = Field(0.3, ge=0, le=1)
    top_k: int = Field(0, ge=0, description="Entries kept of each work; 0 keeps all.")
    max_history: int = Field(500, ge=1)


class ItemFilterRecommender(ItemItemRecommender):
    """The linear item filter (see `training.linear_filter`)."""

    Config = ItemFilterParams

    @classmethod
    def fit(cls, data: Dataset, config: ItemFilterParams, options: Options) -> Self:
        """The filter of the training rows."""
        top_k = config.top_k or data.n_works
        return cls(linear_item_filter(data.train(), config.reader_power, config.work_power, top_k, config.max_history))


class ItemKnnParams(Params):
    """Config of `item_knn`."""

    k1: float = Field(0.2, gt=0, description="How soon many readers of a work count no more.")
    b: float = Field(0.6, ge=0, le=1, description="How strongly popular works are damped.")
    neighbours: int = Field(40, ge=1)


class ItemKnnRecommender(ItemItemRecommender):
    """Item-kNN with BM25 weights.

    Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009: a work is the
    document, its readers are the terms.
    """

    Config = ItemKnnParams

    @classmethod
    def fit(cls, data: Dataset, config: ItemKnnParams, options: Options) -> Self:
        """Products of the BM25-weighted columns, the strongest `neighbours` of each work."""
        ratings = data.train()
        weighted = bm25(ratings.T.tocsr(), config.k1, config.b)
        alike = sparse.csr_matrix(weighted @ weighted.T)
        alike.setdiag(0)
        alike.eliminate_zeros()
        return cls(keep_top(alike, config.neighbours).astype(np.float32))


def bm25(documents: sparse.csr_matrix, k1: float, b: float) -> sparse.csr_matrix:
    """BM25 weights of term counts [n_documents, n_terms]."""
    entries = documents.tocoo()
    n = documents.shape[0]
    terms = np.bincount(entries.coords[1], minlength=documents.shape[1])
    idf = np.log(n) - np.log1p(terms)
    length = np.asarray(documents.sum(axis=1)).ravel()
    damp = (1 - b) + b * length / max(length.mean(), 1e-12)
    values = entries.data * (k1 + 1) / (k1 * damp[entries.coords[0]] + entries.data) * idf[entries.coords[1]]
    return sparse.csr_matrix((values, entries.coords), shape=documents.shape)


class CoOccurrenceParams(Params):
    """Config of `co_occurrence` and `two_hop`."""

    power: float = Field(0.5, ge=0, le=1, description="How strongly popular works are damped; 0.5 is the cosine.")
    reader_power: float = Field(0.25, ge=0, le=1)
    neighbours: int = Field(0, ge=0, description="Entries kept of each work; 0 keeps all.")


class CoOccurrenceRecommender(ItemItemRecommender):
    """Cosines of works by the readers they share."""

    Config = CoOccurrenceParams

    @classmethod
    def fit(cls, data: Dataset, config: CoOccurrenceParams, options: Options) -> Self:
        """The filter with the damping of a cosine."""
        top_k = config.neighbours or data.n_works
        return cls(linear_item_filter(data.train(), config.reader_power, config.power, top_k))


class TwoHopParams(Params):
    """Config of `two_hop`."""

    power: float = Field(0.5, ge=0, le=1)
    neighbours: int = Field(60, ge=1, description="Works that a step goes to.")


class TwoHopRecommender(ItemItemRecommender):
    """Works that are near to works near to the history: two steps of cosines, each step's lengths made equal."""

    Config = TwoHopParams

    @classmethod
    def fit(cls, data: Dataset, config: TwoHopParams, options: Options) -> Self:
        """The product of the nearest neighbours with themselves."""
        near = linear_item_filter(data.train(), 0.25, config.power, config.neighbours)
        sums = np.asarray(near.sum(axis=1)).ravel()
        step = sparse.csr_matrix(sparse.diags_array(1.0 / np.maximum(sums, 1e-12)) @ near)
        return cls(sparse.csr_matrix(step @ near, dtype=np.float32))


class EaseParams(Params):
    """Config of `ease`."""

    regularization: float = Field(200.0, gt=0)


@dataclass(frozen=True)
class EaseRecommender(Recommender):
    """EASE: the item-item matrix of least squares without a diagonal.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equation 8.
    """

    Config = EaseParams
    matrix: Floats  # [n_works, n_works]

    @classmethod
    def fit(cls, data: Dataset, config: EaseParams, options: Options) -> Self:
        """Solved in place: one matrix of n_works squared in memory."""
        ratings = data.train()
        return cls(ease_matrix(ratings.T @ ratings, config.regularization))

    def scores(self, batch: Batch) -> Floats:
        """R B for the batch."""
        return product(batch.histories, self.matrix)

    def save(self, folder: Path) -> None:
        """Write B."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "ease.npy", self.matrix)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read B, mapped."""
        return cls(np.load(folder / "ease.npy"))


def ease_matrix(gram: sparse.csr_matrix, ridge: float) -> Floats:
    """B = I - P diag(P)^-1 with P = (G + ridge I)^-1, zero on its diagonal, float32 [n_works, n_works].

    Args:
        gram: G, products of the works' columns, [n_works, n_works].
        ridge: above 0.
    """
    n = gram.shape[0]
    dense = np.zeros((n, n), dtype=np.float32, order="F")
    entries = sparse.csc_matrix(gram)
    entries.sum_duplicates()
    columns = np.repeat(np.arange(n), np.diff(entries.indptr))
    dense[entries.indices, columns] = entries.data
    dense[np.diag_indices(n)] += np.float32(ridge)
    factor, failed = lapack.spotrf(dense, lower=1, clean=0, overwrite_a=1)
    inverse, also_failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or also_failed:
        raise ArithmeticError(f"The products with a ridge of {ridge} are not positive definite")
    _mirror(inverse)
    weights = inverse.T  # symmetric, and as rows in memory
    weights /= -np.diag(weights).copy()
    weights[np.diag_indices(n)] = 0.0
    return weights


def _mirror(lower: Floats, block: int = 2048) -> None:
    """Copy the lower triangle to the upper one, in place."""
    n = lower.shape[0]
    for start in range(0, n, block):
        stop = min(start + block, n)
        corner = lower[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T
