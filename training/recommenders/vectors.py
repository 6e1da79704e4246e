"""Any model of reader and work vectors (two-tower, GNN): inner products."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.recommenders.base import Batch, Floats, Recommender


@dataclass(frozen=True)
class VectorRecommender(Recommender):
    """Inner products of vectors; a reader without a trained row is the weighted mean of the history's works."""

    readers: Floats  # [n_trained, dim]
    works: Floats  # [n_works, dim]
    history: list[dict[str, float]] = field(default_factory=list)  # of the training, a line an epoch; not saved

    def scores(self, batch: Batch) -> Floats:
        """Inner products with every work."""
        vectors = np.asarray(batch.histories @ self.works, dtype=np.float32)
        known = batch.rows >= 0
        vectors[known] = self.readers[batch.rows[known]]
        return vectors @ self.works.T

    def summary(self) -> dict[str, Any]:
        """What came of the training, for the stage's metrics."""
        best = max(line["valid_ndcg_at_20"] for line in self.history)
        return {"epochs": len(self.history), "valid_ndcg_at_20": best, "history": self.history}

    def save(self, folder: Path) -> None:
        """Write both tables."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "readers.npy", self.readers)
        np.save(folder / "works.npy", self.works)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both tables."""
        return cls(np.load(folder / "readers.npy"), np.load(folder / "works.npy"))
