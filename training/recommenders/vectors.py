"""Any model of reader and work vectors: inner products."""

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
        return summary_of(self.history)

    def save(self, folder: Path) -> None:
        """Write both tables."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "readers.npy", self.readers)
        np.save(folder / "works.npy", self.works)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both tables."""
        return cls(np.load(folder / "readers.npy"), np.load(folder / "works.npy"))


def summary_of(history: list[dict[str, float]]) -> dict[str, Any]:
    """`epochs` that were best (all of them where nothing was validated), the value then, and each epoch's line."""
    values = [line["valid_ndcg_at_20"] for line in history if "valid_ndcg_at_20" in line]
    if not values:
        return {"epochs": len(history), "history": history}
    return {"epochs": int(np.argmax(values)) + 1, "valid_ndcg_at_20": max(values), "history": history}
