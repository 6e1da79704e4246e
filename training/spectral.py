"""Where the tables of the torch models begin: the leading singular vectors of the training likings."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

OVERSAMPLING, POWER_ITERATIONS = 16, 6


class Start(NamedTuple):
    """Tables with rows of mean length 1.

    Attributes:
        read: what a work says of a reader who read it [n_works, dim].
        works: where the work itself lies [n_works, dim].
    """

    read: Tensor
    works: Tensor


def spectral_start(likings: sparse.csr_matrix, dim: int) -> Start:
    """Truncated SVD of D_r^-1/2 A D_w^-1/2 = U S V' (randomised, Halko et al., SIAM Review 53, 2011; torch's seed).

    `read` is D_w^-1/2 V and `works` V S^1/2, so that a sum of the rows read, times the works, scores like the linear
    filter of rank `dim`. Columns beyond the matrix's rank are small noise.
    """
    degrees = (np.maximum(np.asarray((likings != 0).sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    by_reader, by_work = (degree.astype(np.float32) ** -0.5 for degree in degrees)
    scaled = (sparse.diags_array(by_reader) @ likings @ sparse.diags_array(by_work)).tocoo()
    rank = min(dim + OVERSAMPLING, *scaled.shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack(scaled.coords).astype(np.int64)),
            torch.from_numpy(scaled.data.astype(np.float32)),
            size=scaled.shape,
            check_invariants=True,
        )
        _, s, v = torch.svd_lowrank(matrix, q=rank, niter=POWER_ITERATIONS)
    s, v = s[:dim], v[:, :dim]
    return Start(*(_table(part, dim) for part in (v * torch.from_numpy(by_work)[:, None], v * s.sqrt())))


def _table(vectors: Tensor, dim: int) -> Tensor:
    """Rows of mean length 1, with noise in the columns that are missing."""
    missing = torch.randn(len(vectors), dim - vectors.shape[1]) * 0.1 * dim**-0.5
    return torch.cat([vectors / vectors.norm(dim=1).mean().clamp(min=1e-12), missing], dim=1)
