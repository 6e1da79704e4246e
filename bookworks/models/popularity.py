"""Popularity with segments: the whole readership, the reader's age bin, the reader's country."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Popularity:
    """Ranked lists of work indices, best first, mixed for a reader.

    Args:
        n_works: size of the catalogue.
        everyone: the whole catalogue in order.
        age_bin: label -> the first of that age bin.
        country: label -> the first of that country.
        weights: share of `global`, `age_bin` and `country` in the mixed score.
    """

    def __init__(
        self,
        n_works: int,
        everyone: Sequence[int],
        age_bin: Mapping[str, Sequence[int]],
        country: Mapping[str, Sequence[int]],
        weights: Mapping[str, float],
    ) -> None:
        self.n_works, self.weights = n_works, dict(weights)
        self.everyone = _indices(everyone)
        self.age_bin = {label: _indices(ranked) for label, ranked in age_bin.items()}
        self.country = {label: _indices(ranked) for label, ranked in country.items()}

    @cached_property
    def _of_everyone(self) -> Floats:
        """Score of each work in the eyes of the whole readership, [n_works]."""
        scores = np.zeros(self.n_works, dtype=np.float32)
        scores[self.everyone] = rank_scores(len(self.everyone), self.n_works)
        return scores

    def scores(self, age_bin: str | None, country: str | None, works: Ints | None = None) -> Floats:
        """Score of each work, 0 to 1, float32; a segment that training did not see adds nothing.

        Args:
            age_bin: label or None.
            country: label or None.
            works: rising indices, [n]; None for the whole catalogue.
        """
        parts = self._segments(age_bin, country)
        total = self.weights["global"] + sum(weight for _, weight in parts) or 1.0
        known = self._of_everyone if works is None else self._of_everyone[works]
        mixed = np.float32(self.weights["global"] / total) * known
        for ranked, weight in parts:
            scores = np.float32(weight / total) * rank_scores(len(ranked), self.n_works)
            if works is None:
                mixed[ranked] += scores
            else:
                place = np.minimum(np.searchsorted(works, ranked), max(works.size - 1, 0))
                there = works[place] == ranked if works.size else np.zeros(ranked.size, dtype=bool)
                mixed[place[there]] += scores[there]
        return mixed

    def first(self, age_bin: str | None, country: str | None, n: int, shown: npt.NDArray[np.bool_] | None) -> Ints:
        """Works among which the `n` best of the mixed score are, in no order.

        Args:
            age_bin: label or None.
            country: label or None.
            n: how many.
            shown: marks the works that may be among them, [n_works]; None for all.
        """
        everyone = self.everyone[:n] if shown is None else self.everyone[shown[self.everyone]][:n]
        return np.concatenate([everyone, *(ranked for ranked, _ in self._segments(age_bin, country))])

    def _segments(self, age_bin: str | None, country: str | None) -> list[tuple[Ints, float]]:
        """Lists of the reader's segments, with their shares."""
        known = ((self.age_bin, age_bin, "age_bin"), (self.country, country, "country"))
        return [(lists[label], self.weights[name]) for lists, label, name in known if label in lists]


def _indices(ranked: Sequence[int]) -> Ints:
    return np.asarray(ranked, dtype=np.int64)


def rank_scores(n: int, n_works: int) -> Floats:
    """Of the first `n` of a list: 1 for the first, falling with the logarithm of the rank to 0 at `n_works`."""
    ranks = np.arange(n, dtype=np.float32)
    scores: Floats = 1.0 - np.log1p(ranks) / np.log1p(np.float32(max(n_works, 1)))
    return scores
