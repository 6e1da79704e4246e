"""LightGCN, trained with the sampled softmax of the two-tower model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from training.dataset import Dataset
from training.features import Indices, make_features
from training.lightgcn_model import LightGCN
from training.loop import prepare
from training.params import Options
from training.recommenders.vectors import VectorRecommender
from training.spectral import spectral_start
from training.vector_fit import VectorParams, fit_vectors, silent


class GnnParams(VectorParams):
    """Section `train_gnn`."""

    batch_size: int = Field(4096, ge=2, description="Readers of a batch, at most; each costs a propagation.")
    learning_rate: float = Field(0.01, gt=0)
    temperature: float = Field(0.15, gt=0)
    layers: int = Field(2, ge=1)
    content_nodes: bool = Field(False, description="Whether authors and series are nodes of the graph.")
    content_weight: float = Field(1.0, gt=0, description="Weight of a link to author or series; a reader's is 1.")
    min_works: int = Field(2, ge=1, description="Works below which an author or series is no node.")


class GnnRecommender(VectorRecommender):
    """Vectors of trained readers and of works, smoothed over the graph."""

    Config = GnnParams

    @classmethod
    def fit(
        cls, data: Dataset, config: GnnParams, options: Options, report: Callable[[int, float], None] = silent
    ) -> Self:
        """Train on the training rows, stopping early on the validation rows, if there are any."""
        prepare(options)
        likings = data.train()
        model = LightGCN(likings, content_links(data, config), graph_start(likings, config.dim), config.layers)
        history = fit_vectors(model, lambda: cls(*_vectors(model)), data, config, options, report)
        return cls(*_vectors(model), history)


def content_links(data: Dataset, config: GnnParams) -> sparse.csr_matrix:
    """Links of works to authors and series of several works [n_works, n_authors + n_series], weighted."""
    if not config.content_nodes:
        return sparse.csr_matrix((data.n_works, 0), dtype=np.float32)
    features = make_features(data, 1, config.min_works)
    links = sparse.hstack([_links(labels) for labels in (features.work_author, features.work_series)])
    return sparse.csr_matrix(config.content_weight * links)


def graph_start(likings: sparse.csr_matrix, dim: int) -> Tensor:
    """Where readers and works begin: works by the singular vectors, readers as the mean of what they read."""
    start = spectral_start(likings, dim)
    readers = torch.from_numpy(np.asarray(likings @ start.read.numpy(), dtype=np.float32))
    return torch.cat([F.normalize(readers, dim=1), start.works])


def _links(labels: Indices) -> sparse.csr_matrix:
    known = np.flatnonzero(labels)
    shape = (len(labels), int(labels.max(initial=0)))
    return sparse.csr_matrix((np.ones(len(known)), (known, labels[known] - 1)), shape=shape)


@torch.no_grad()
def _vectors(model: LightGCN) -> tuple[object, object]:
    readers, works = model.vectors()
    return readers.numpy().copy(), works.numpy().copy()
