"""LightGCN: embeddings smoothed over the graph of readers and works. No I/O, no training loop.

He et al.: "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F


class LightGCN(nn.Module):
    """The mean of `layers` + 1 propagations of one embedding table over D^-1/2 A D^-1/2."""

    def __init__(self, ratings: sparse.csr_matrix, dim: int, layers: int) -> None:
        super().__init__()
        self.n_readers, n_works = ratings.shape
        self.layers = layers
        self.table = nn.Embedding(self.n_readers + n_works, dim)
        nn.init.normal_(self.table.weight, std=0.1)
        self.register_buffer("graph", normalised_graph(ratings), persistent=False)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Unit vectors of all readers and of all works."""
        layer = self.table.weight
        total = layer
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.graph, layer)
            total = total + layer
        unit = F.normalize(total / (self.layers + 1), dim=1)
        return unit[: self.n_readers], unit[self.n_readers :]

    def forward(self, readers: Tensor, works: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of reader rows and of work indices."""
        reader_vectors, work_vectors = self.vectors()
        return reader_vectors[readers], work_vectors[works]


def normalised_graph(ratings: sparse.csr_matrix) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, sparse CSR [readers + works, readers + works]."""
    linked = sparse.csr_matrix(ratings, copy=True)
    linked.data[:] = 1.0
    graph = sparse.block_array([[None, linked], [linked.T, None]], format="csr")
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)
    scale = sparse.diags_array(degree**-0.5)
    scaled = (scale @ graph @ scale).tocsr()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(scaled.indptr.astype(np.int64)),
            torch.from_numpy(scaled.indices.astype(np.int64)),
            torch.from_numpy(scaled.data.astype(np.float32)),
            size=scaled.shape,
            check_invariants=True,
        )
