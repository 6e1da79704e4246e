"""Popularity with segments: the whole readership, the reader's age bin, the reader's country."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
CACHE_SIZE = 512


@dataclass
class Popularity:
    """Ranked lists of work indices, best first.

    Attributes:
        n_works: size of the catalogue.
        everyone: the whole catalogue in order.
        age_bin: label -> the first of that age bin.
        country: label -> the first of that country.
        weights: share of `global`, `age_bin` and `country` in the mixed score.
    """

    n_works: int
    everyone: list[int]
    age_bin: dict[str, list[int]]
    country: dict[str, list[int]]
    weights: dict[str, float]
    _cache: dict[tuple[str, str], Floats] = field(default_factory=dict, repr=False)

    def scores(self, age_bin: str | None, country: str | None) -> Floats:
        """Score of each work, 0 to 1, float32 [n_works]; do not write into it.

        A segment that training did not see adds nothing.
        """
        key = (age_bin if age_bin in self.age_bin else "", country if country in self.country else "")
        if key not in self._cache:
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[key] = self._mix(*key)
        return self._cache[key]

    def _mix(self, age_bin: str, country: str) -> Floats:
        parts = [(self.everyone, self.weights["global"])]
        if age_bin:
            parts.append((self.age_bin[age_bin], self.weights["age_bin"]))
        if country:
            parts.append((self.country[country], self.weights["country"]))
        total = sum(weight for _, weight in parts) or 1.0
        mixed = np.zeros(self.n_works, dtype=np.float32)
        for ranked, weight in parts:
            mixed += np.float32(weight / total) * rank_scores(ranked, self.n_works)
        return mixed


def rank_scores(ranked: list[int], n_works: int) -> Floats:
    """1 for the first, falling with the logarithm of the rank to 0; 0 for a work not in the list."""
    scores = np.zeros(n_works, dtype=np.float32)
    ranks = np.arange(len(ranked), dtype=np.float32)
    scores[ranked] = 1.0 - np.log1p(ranks) / np.log1p(np.float32(max(n_works, 1)))
    return scores
