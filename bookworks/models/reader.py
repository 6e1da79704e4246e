"""What a bundle is told about a reader, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Tier = Literal["warm", "session", "tastes", "cold"]
TIERS: tuple[Tier, ...] = ("warm", "session", "tastes", "cold")


@dataclass(frozen=True)
class Context:
    """When books are asked for; NaN where times are unknown.

    Attributes:
        idle_days: whole days since the latest event of the history.
    """

    idle_days: float = math.nan

    @classmethod
    def at(cls, now: datetime, latest: datetime | None) -> Self:
        """The context of a request.

        Args:
            now: when books are asked for, with a time zone.
            latest: the latest event of the history, with a time zone; None where there is none or its time is unknown.
        """
        return cls(math.nan if latest is None else float(max(now - latest, timedelta()).days))


@dataclass(frozen=True)
class ReaderState:
    """A reader as known at this moment.

    Attributes:
        user_id: the reader's id; one that was not trained is welcome.
        history: work indices, oldest first; these are never recommended.
        weights: liking of each history entry, 0 to 1; empty means 1 for all.
        age_bin: label of the mart's age bin, or None.
        country: country as the mart writes it, or None.
        tastes: names of authors, subjects or series that the reader named, in any case.
        context: when books are asked for.
    """

    user_id: str | None = None
    history: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    age_bin: str | None = None
    country: str | None = None
    tastes: list[str] = field(default_factory=list)
    context: Context = Context()


@dataclass(frozen=True)
class Nearest:
    """What a vector index found for a reader.

    Attributes:
        vector: the reader's vector that was searched with, float32 [dim].
        indices: work indices, the nearest first, int64.
    """

    vector: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recommendation:
    """A ranked list.

    Attributes:
        indices: work indices, best first, no repeats.
        scores: of each, falling, except where the rule on authors moved one down: blended, or, where the bundle has a
            ranker, in its order.
        sources: for each work, how much each source added to its blended score.
        tier: what was known of the reader: warm, session, tastes or cold.
    """

    indices: list[int]
    scores: list[float]
    sources: list[dict[str, float]]
    tier: Tier
