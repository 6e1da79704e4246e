"""Shares estimated from random samples: Wilson's interval, and strata whose members have unequal weights.

Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. Strata: Cochran, Sampling
Techniques, 3rd edition 1977, chapter 5; shares within one are ratios of Horvitz-Thompson sums (Hájek 1971).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bookworks.metrics.bootstrap import Interval

Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Stratum:
    """What was seen of one part of a population.

    Attributes:
        size: sum of the weights of all its members, sampled or not.
        seen: for each sampled member how much of the population it stands for, and whether it is a hit.
    """

    size: float
    seen: Sequence[tuple[float, bool]]

    @property
    def share(self) -> float:
        """Hits, as a share of the stratum."""
        return sum(weight for weight, hit in self.seen if hit) / sum(weight for weight, _ in self.seen)

    @property
    def n(self) -> float:
        """So many members of equal weight would tell as much (Kish 1965)."""
        total = sum(weight for weight, _ in self.seen)
        return total * total / sum(weight * weight for weight, _ in self.seen)

    @property
    def smoothed(self) -> float:
        """The share with one hit and one miss more: a small sample without a miss is not yet sure."""
        return (self.n * self.share + 1) / (self.n + 2)

    @property
    def variance(self) -> float:
        """Of the share."""
        return self.smoothed * (1 - self.smoothed) / self.n


def wilson(share: float, n: float) -> Interval:
    """A share of `n` independent draws with its 95 % interval; nothing drawn: from 0 to 1."""
    if n <= 0:
        return Interval(share, 0.0, 1.0)
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def hits(strata: Sequence[Stratum]) -> Interval:
    """Weight of the hits in the whole population, over strata that each have something seen; no stratum: 0."""
    size = sum(one.size for one in strata)
    if not size:
        return Interval(0.0, 0.0, 0.0)
    share, smoothed = (sum(one.size * getattr(one, kind) for one in strata) / size for kind in ("share", "smoothed"))
    variance = sum((one.size / size) ** 2 * one.variance for one in strata)
    found = wilson(share, smoothed * (1 - smoothed) / variance)
    return Interval(size * found.value, size * found.low, size * found.high)
