"""The best of many scores, against a stable sort."""

from __future__ import annotations

import numpy as np
import pytest

from bookworks.models.ordering import falling, top


@pytest.mark.parametrize("seed", range(10))
def test_top_is_a_stable_sort(seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 6, 40).astype(np.float32)
    scores[:5] = -np.inf
    expected = [i for i in np.argsort(-scores, kind="stable").tolist() if np.isfinite(scores[i])]
    for n in (1, 7, 40, 100):
        assert top(scores, n).tolist() == expected[:n]


@pytest.mark.parametrize("seed", range(10))
def test_top_of_many_is_the_same_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6 if seed % 2 else 10**6, 64 * 300 + seed).astype(np.float32)
    scores[rng.random(scores.size) < (0.999 if seed == 4 else 0.3)] = -np.inf
    expected = [i for i in np.argsort(-scores, kind="stable").tolist() if np.isfinite(scores[i])]
    for n in (1, 7, 100, 140, 5000):
        assert top(scores, n).tolist() == expected[:n]


def test_falling_takes_of_equals_the_first_whatever_the_sign_of_a_zero() -> None:
    scores = np.array([[0.0, -0.0, 2.5, -np.inf, 2.5, -1.0], [3.0, 2.0, 1.0, 0.0, -0.0, np.inf]], dtype=np.float32)
    assert falling(scores).tolist() == [[2, 4, 0, 1, 5, 3], [5, 0, 1, 2, 3, 4]]


def test_what_is_not_finite_is_not_among_the_best() -> None:
    scores = np.array([np.nan, 1.0, np.inf, -np.inf, 2.0], dtype=np.float32)
    assert top(scores, 5).tolist() == [4, 1]
    assert top(scores[:0], 5).tolist() == []
