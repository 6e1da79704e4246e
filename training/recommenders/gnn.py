"""LightGCN, trained with the in-batch sampled softmax of the two-tower model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field

from training.dataset import Dataset
from training.lightgcn_model import LightGCN
from training.loop import prepare
from training.params import Options
from training.recommenders.vectors import VectorRecommender
from training.vector_fit import VectorParams, fit_vectors, silent


class GnnParams(VectorParams):
    """Section `train_gnn`."""

    layers: int = Field(2, ge=1)


class GnnRecommender(VectorRecommender):
    """Vectors of trained readers and of works, smoothed over the graph."""

    Config = GnnParams

    @classmethod
    def fit(
        cls, data: Dataset, config: GnnParams, options: Options, report: Callable[[int, float], None] = silent
    ) -> Self:
        """Train on the training rows, stopping early on the validation rows."""
        prepare(options)
        model = LightGCN(data.train(), config.dim, config.layers)
        history = fit_vectors(model, lambda: cls(*_vectors(model)), data, config, options, report)
        return cls(*_vectors(model), history)


@torch.no_grad()
def _vectors(model: LightGCN) -> tuple[object, object]:
    readers, works = model.vectors()
    return readers.numpy().copy(), works.numpy().copy()
