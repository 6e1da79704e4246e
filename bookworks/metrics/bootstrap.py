"""Bootstrap intervals: readers are drawn again with replacement (Efron 1979, percentile interval)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bookworks.metrics.ranking import PAD, Ranked

SAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval."""

    value: float
    low: float
    high: float


def mean_interval(values: npt.NDArray[np.float64], seed: int = 0, samples: int = SAMPLES) -> Interval:
    """Mean over readers with its 95 % interval. The difference of two models: pass their paired differences.

    No reader at all gives zeros.
    """
    n = values.size
    if n == 0:
        return Interval(0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    draws = np.concatenate([values[rng.integers(0, n, size=(count, n))].mean(axis=1) for count in _blocks(samples, n)])
    return _interval(float(values.mean()), draws)


def coverage_interval(ranked: Ranked, n_works: int, seed: int = 0, samples: int = 200) -> Interval:
    """Coverage with its 95 % interval over readers.

    Drawing with replacement leaves readers out and so shows fewer works; the draws are moved by that bias
    (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 10), and stay within 0 and 1.
    """
    n = ranked.shape[0]
    if n == 0 or n_works == 0:
        return Interval(0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    draws = np.array([_covered(ranked[rng.integers(0, n, size=n)], n_works) for _ in range(samples)])
    value = _covered(ranked, n_works)
    return _interval(value, np.clip(draws + value - draws.mean(), 0.0, 1.0))


def _covered(ranked: Ranked, n_works: int) -> float:
    seen = np.zeros(n_works, dtype=bool)
    seen[ranked[ranked != PAD]] = True
    return float(seen.mean())


def _blocks(samples: int, n: int) -> list[int]:
    """Draws per block, so that a block has at most about four million numbers."""
    size = max(1, min(samples, 4_000_000 // n))
    return [min(size, samples - start) for start in range(0, samples, size)]


def _interval(value: float, draws: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
