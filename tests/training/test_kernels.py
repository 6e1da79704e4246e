"""The compiled loops give what SciPy and NumPy give."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from bookworks.errors import ContractError
from bookworks.models import item_item
from training import kernels


def drawn(rows: int, columns: int, density: float, seed: int, dtype: type = np.float32) -> sparse.csr_matrix:
    """Sparse values, the columns of each row in no order."""
    found = sparse.random_array((rows, columns), density=density, format="csr", dtype=np.float64, rng=seed)
    found = found.astype(dtype)
    for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True):
        found.indices[start:end] = found.indices[start:end][::-1]
        found.data[start:end] = found.data[start:end][::-1]
    found.has_sorted_indices = False
    return sparse.csr_matrix(found)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_products_are_those_of_scipy(density: float, dtype: type) -> None:
    left, right = drawn(7, 30, density, 1, dtype), drawn(30, 40, 0.2, 2)
    expected = left.astype(np.float32).toarray() @ right.toarray()
    for other in (right, right.tocsc(), right.toarray()):
        found = kernels.product(left, other)
        assert (found.shape, found.dtype) == ((7, 40), np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_product_for_nobody_is_empty() -> None:
    assert kernels.product(drawn(0, 30, 0.1, 1), drawn(30, 40, 0.2, 2)).shape == (0, 40)


def test_the_largest_likeness_to_a_history() -> None:
    histories, likeness = drawn(9, 30, 0.2, 3), drawn(30, 30, 0.3, 4)
    likeness.data -= 0.3
    works = np.stack([np.random.default_rng(row).permutation(30)[:12] for row in range(9)])
    works[4, 7:] = -1
    found = kernels.largest(histories, likeness, works)
    dense = likeness.toarray()
    for row in range(9):
        read = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
        expected = dense[read].max(axis=0, initial=0.0)[works[row]]
        np.testing.assert_allclose(found[row], np.where(works[row] >= 0, expected, 0.0), rtol=1e-6)
        known = works[row][works[row] >= 0]
        served = item_item.largest(likeness, read, known)
        np.testing.assert_array_equal(found[row, : len(known)], served)


def test_rows_are_standardised_in_place_and_a_constant_one_becomes_zeros() -> None:
    scores = np.random.default_rng(5).normal(3.0, 20.0, (6, 1001)).astype(np.float32)
    scores[2], scores[3] = 7.25, 1e-16 * np.arange(1001)
    expected = (scores - scores.mean(axis=1, keepdims=True, dtype=np.float64)) / scores.std(
        axis=1, keepdims=True, dtype=np.float64
    ).clip(1e-12)
    assert kernels.standardised(scores) is scores
    np.testing.assert_allclose(np.delete(scores, 3, axis=0), np.delete(expected, 3, axis=0), atol=1e-5)
    assert not scores[2].any()
    assert np.abs(scores[3]).max() < 1e-10  # what differs by next to nothing does not differ


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_standardised_scores_are_added_to_a_total(weight: float) -> None:
    total, scores = (np.random.default_rng(seed).normal(size=(4, 50)).astype(np.float32) for seed in (6, 7))
    before = total.copy()
    found = kernels.standardised(scores, total, weight)
    np.testing.assert_allclose(total, before + np.float32(weight) * found, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_together_is_refused() -> None:
    left, right, total = drawn(2, 40, 0.2, 1), drawn(3, 3, 0.5, 2), np.zeros((2, 10), dtype=np.float32)
    for wrong in (
        lambda: kernels.product(left, right),
        lambda: kernels.product(left, right.toarray()),
        lambda: kernels.largest(left, right, np.zeros((2, 1), dtype=np.int64)),
        lambda: kernels.largest(drawn(2, 3, 0.5, 3), right, np.full((2, 1), 3)),
        lambda: kernels.largest(drawn(2, 3, 0.5, 3), right, np.zeros((1, 1), dtype=np.int64)),
        lambda: kernels.standardised(total[:, :3].copy(), total, 1.0),
    ):
        with pytest.raises(ContractError, match="do not fit together"):
            wrong()
