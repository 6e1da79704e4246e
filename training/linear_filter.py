"""The linear item filter: S = A'A with A = Du^-a R Di^-b, the top K of each row.

A low-pass filter on the graph of readers and works, as in Turbo-CF (Park, Shin, Yoon: "Turbo-CF: Matrix
Decomposition-Free Graph Filtering for Fast Recommendation", SIGIR 2024), without polynomial terms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

BLOCK_ROWS = 1024


def linear_item_filter(
    ratings: sparse.csr_matrix, reader_power: float, work_power: float, top_k: int, max_history: int = 500
) -> sparse.csr_matrix:
    """S, float32 [n_works, n_works], without its diagonal, at most `top_k` entries a row.

    Args:
        ratings: R, liking 0 to 1, [n_readers, n_works].
        reader_power: a, how strongly long histories are damped.
        work_power: b, how strongly popular works are damped.
        top_k: entries kept in each row.
        max_history: a reader adds at most this many works, those liked most (cost grows with its square).
    """
    a = damped(keep_top(ratings, max_history), reader_power, work_power)
    transposed = a.T.tocsr()
    blocks = [
        keep_top(_without_diagonal(transposed[start : start + BLOCK_ROWS] @ a, start), top_k)
        for start in range(0, a.shape[1], BLOCK_ROWS)
    ]
    result = sparse.vstack(blocks, format="csr").astype(np.float32)
    result.sort_indices()
    return result


def damped(ratings: sparse.csr_matrix, reader_power: float, work_power: float) -> sparse.csr_matrix:
    """Du^-a R Di^-b; rows and columns without entries stay empty."""
    rows = _power(np.asarray(ratings.sum(axis=1)).ravel(), -reader_power)
    columns = _power(np.asarray(ratings.sum(axis=0)).ravel(), -work_power)
    return (sparse.diags_array(rows) @ ratings @ sparse.diags_array(columns)).tocsr()


def keep_top(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The `k` largest entries of each row; among equals the lower column stays."""
    matrix = sparse.csr_matrix(matrix)
    counts = np.diff(matrix.indptr)
    if counts.size == 0 or counts.max() <= k:
        return matrix
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(order.size) - np.repeat(matrix.indptr[:-1], counts)
    kept = order[rank < k]
    return sparse.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)


def _without_diagonal(block: sparse.csr_matrix, start: int) -> sparse.csr_matrix:
    entries = block.tocoo()
    off = entries.coords[1] != entries.coords[0] + start
    rows, columns = entries.coords
    return sparse.csr_matrix((entries.data[off], (rows[off], columns[off])), shape=block.shape)


def _power(totals: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    result = np.zeros_like(totals, dtype=np.float64)
    positive = totals > 0
    result[positive] = totals[positive] ** exponent
    return result
