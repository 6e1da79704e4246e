"""Training rows as tensors, and the validation that all torch models share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bookworks.metrics.ranking import find_hits, ndcg_at
from training.dataset import VALID, Dataset
from training.loop import Rows
from training.recommenders.base import Batch
from training.recommenders.vectors import VectorRecommender

VALID_K = 20


def training_rows(data: Dataset, popularity_power: float) -> Rows:
    """Rows weighed by liking and by work popularity to the power of `-popularity_power`, mean 1."""
    entries = data.train().tocoo()
    readers, works = entries.coords
    counts = np.bincount(works, minlength=data.n_works).astype(np.float64)
    weights = entries.data * counts[works] ** -popularity_power
    weights = weights / weights.mean()
    return Rows(
        torch.from_numpy(readers.astype(np.int64)),
        torch.from_numpy(works.astype(np.int64)),
        torch.from_numpy(weights.astype(np.float32)),
    )


def log_frequency(data: Dataset) -> Tensor:
    """Log of each work's share of the training rows; a work without rows counts as half a row; [n_works]."""
    counts = np.bincount(data.train().indices, minlength=data.n_works)
    return torch.from_numpy(np.log(np.maximum(counts, 0.5) / max(counts.sum(), 1)).astype(np.float32))


class Validation:
    """NDCG@20 over the whole catalogue, on trained readers with relevant validation works."""

    def __init__(self, data: Dataset, relevant_weight: float, max_readers: int, seed: int) -> None:
        valid = data.matrix(VALID)[: data.n_trained]
        valid.data[valid.data < relevant_weight] = 0
        valid.eliminate_zeros()
        readers = np.flatnonzero(np.diff(valid.indptr))
        if readers.size > max_readers:
            readers = np.sort(np.random.default_rng(seed).choice(readers, max_readers, replace=False))
        labels = [None] * readers.size
        self._batch = Batch(readers, data.train()[readers], labels, labels)
        self._relevant = [valid.indices[valid.indptr[r] : valid.indptr[r + 1]].tolist() for r in readers]
        self._n_relevant = np.array([len(works) for works in self._relevant], dtype=np.int64)
        self._n_works = data.n_works

    def __len__(self) -> int:
        """Readers it looks at."""
        return len(self._batch)

    def ndcg(self, model: VectorRecommender) -> float:
        """Mean NDCG@20; 0 where no reader qualifies."""
        if not len(self):
            return 0.0
        ranked = model.recommend(self._batch, VALID_K).works
        return float(ndcg_at(find_hits(ranked, self._relevant, self._n_works), self._n_relevant, VALID_K).mean())
