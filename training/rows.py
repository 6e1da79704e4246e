"""How often each work was read, and the validation that all torch models share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bookworks.metrics.ranking import find_hits, ndcg_at
from training.dataset import VALID, Dataset
from training.recommenders.base import Batch, Recommender

VALID_K = 20


def frequency(data: Dataset) -> Tensor:
    """Each work's share of the training rows; a work without rows counts as half a row; float64 [n_works]."""
    counts = np.bincount(data.train().indices, minlength=data.n_works)
    return torch.from_numpy(np.maximum(counts, 0.5) / max(counts.sum(), 1))


class Validation:
    """NDCG@20 over the whole catalogue, on trained readers with relevant validation works."""

    def __init__(self, data: Dataset, relevant_weight: float, max_readers: int, seed: int) -> None:
        valid = data.matrix(VALID)[: data.n_trained]
        valid.data[valid.data < relevant_weight] = 0
        valid.eliminate_zeros()
        readers = np.flatnonzero(np.diff(valid.indptr))
        if readers.size > max_readers:
            readers = np.sort(np.random.default_rng(seed).choice(readers, max_readers, replace=False))
        ages, countries = data.labels("age_bin"), data.labels("country")
        labels = [ages[r] for r in readers], [countries[r] for r in readers]
        self._batch = Batch(readers, data.train()[readers], *labels)
        self._relevant = [valid.indices[valid.indptr[r] : valid.indptr[r + 1]].tolist() for r in readers]
        self._n_relevant = np.array([len(works) for works in self._relevant], dtype=np.int64)
        self._n_works = data.n_works

    def __len__(self) -> int:
        """Readers it looks at."""
        return len(self._batch)

    def ndcg(self, model: Recommender) -> float:
        """Mean NDCG@20; 0 where no reader qualifies."""
        if not len(self):
            return 0.0
        ranked = model.recommend(self._batch, VALID_K).works
        return float(ndcg_at(find_hits(ranked, self._relevant, self._n_works), self._n_relevant, VALID_K).mean())
