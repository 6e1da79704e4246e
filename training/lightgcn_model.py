"""LightGCN: embeddings smoothed over the graph of readers, works, authors and series. No I/O, no training loop.

He et al.: "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from training.histories import Bags


class LightGCN(nn.Module):
    """The mean of `layers` + 1 propagations of one embedding table over D^-1/2 A D^-1/2.

    Args:
        likings: [n_readers, n_works].
        content: links of works to authors and series, weighted [n_works, n_nodes]; n_nodes may be 0.
        start: where readers and works begin [n_readers + n_works, dim].
        layers: propagations.
    """

    def __init__(self, likings: sparse.csr_matrix, content: sparse.csr_matrix, start: Tensor, layers: int) -> None:
        super().__init__()
        self.n_readers, self.n_works = likings.shape
        self.layers = layers
        self.table = nn.Parameter(torch.cat([start, torch.zeros(content.shape[1], start.shape[1])]))
        self.graph = normalised_graph(likings, content)  # no buffer: sparse tensors are not sent between processes

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Unit vectors of all readers and of all works."""
        layer = total = self.table
        for _ in range(self.layers):
            layer = Propagate.apply(self.graph, layer)
            total = total + layer
        unit = F.normalize(total / (self.layers + 1), dim=1)
        return unit[: self.n_readers], unit[self.n_readers : self.n_readers + self.n_works]

    def forward(self, readers: Tensor, known: Bags, works: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of reader rows and of work indices; what is known of readers is in the graph."""
        reader_vectors, work_vectors = self.vectors()
        return reader_vectors[readers], work_vectors[works]


class Propagate(torch.autograd.Function):
    """graph @ layer for a symmetric graph, which is its own transpose in the gradient, too."""

    @staticmethod
    def forward(ctx, graph: Tensor, layer: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(graph)
        return torch.sparse.mm(graph, layer)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:  # noqa: D102
        (graph,) = ctx.saved_tensors
        return None, torch.sparse.mm(graph, gradient)


def normalised_graph(likings: sparse.csr_matrix, content: sparse.csr_matrix) -> Tensor:
    """D^-1/2 A D^-1/2 of the graph, sparse CSR [nodes, nodes]: readers, works, authors and series, in this order."""
    linked = sparse.csr_matrix(likings, copy=True)
    linked.data[:] = 1.0
    blocks = [[None, linked, None], [linked.T, None, content], [None, content.T, None]]
    if not content.shape[1]:
        blocks = [row[:2] for row in blocks[:2]]
    graph = sparse.block_array(blocks, format="csr", dtype=np.float64)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = sparse.diags_array(np.where(degree > 0, degree, 1.0) ** -0.5)
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
