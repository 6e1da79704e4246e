"""The item filter against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from training import linear_filter
from training.linear_filter import keep_top, linear_item_filter


def dense_filter(ratings: np.ndarray, a: float, b: float) -> np.ndarray:
    def power(totals: np.ndarray, exponent: float) -> np.ndarray:
        return np.array([t**exponent if t > 0 else 0.0 for t in totals])

    scaled = np.diag(power(ratings.sum(1), -a)) @ ratings @ np.diag(power(ratings.sum(0), -b))
    product = scaled.T @ scaled
    np.fill_diagonal(product, 0.0)
    return product


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("powers", [(0.5, 0.5), (0.3, 0.8), (0.0, 0.0)])
def test_it_is_a_transposed_times_a(seed: int, powers: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_filter, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(seed)
    ratings = rng.uniform(0.1, 1, (25, 18)) * (rng.uniform(size=(25, 18)) < 0.3)
    found = linear_item_filter(sparse.csr_matrix(ratings), *powers, top_k=18)
    np.testing.assert_allclose(found.toarray(), dense_filter(ratings, *powers), atol=1e-6)


def test_the_largest_of_each_row_are_kept() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(12, 20)) * (rng.uniform(size=(12, 20)) < 0.6)
    kept = keep_top(sparse.csr_matrix(values), 4).toarray()
    for row, full in zip(kept, values, strict=True):
        expected = np.sort(full[full > 0])[::-1][:4]
        np.testing.assert_array_equal(np.sort(row[row > 0])[::-1], expected)


def test_no_reader_and_no_work_is_no_trouble() -> None:
    assert linear_item_filter(sparse.csr_matrix((0, 3)), 0.5, 0.5, 5).shape == (3, 3)
    assert linear_item_filter(sparse.csr_matrix(np.ones((4, 1))), 0.5, 0.5, 5).nnz == 0
