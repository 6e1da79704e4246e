"""From what Redis knows of a reader to what a bundle understands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bookworks.contracts.online import ids_of
from bookworks.models.bundle import Bundle
from bookworks.models.reader import Context, ReaderState

if TYPE_CHECKING:
    from bookworks.adapters.redis import OnlineReader


def state_of(
    bundle: Bundle, index: Callable[..., int | None], user_id: str, online: OnlineReader, now: datetime
) -> tuple[ReaderState, dict[int, float]]:
    """The reader's state, and ratings of works of its history, above 0 to 10.

    Books that the bundle does not know are passed over. Several books of one work (editions, ids that were merged)
    count once, at the latest time, with the greatest weight.

    Args:
        bundle: which bins ages.
        index: the work's index of the first id that is known, of several.
        user_id: the reader.
        online: what Redis knows of it.
        now: when books are asked for, with a time zone.
    """
    history: dict[int, float] = {}
    ratings: dict[int, float] = {}
    for book in online.history:  # the latest first
        at = index(*ids_of(book))
        if at is not None:
            history[at] = max(history.get(at, 0.0), online.weights.get(book, 1.0))
            if book in online.ratings:
                ratings.setdefault(at, online.ratings[book])
    oldest_first = list(history)[::-1]
    state = ReaderState(
        user_id=user_id,
        history=oldest_first,
        weights=[history[i] for i in oldest_first],
        age_bin=age_bin(bundle, online.profile, now.year),
        country=online.profile.get("country"),
        tastes=flat_tastes(online.profile.get("tastes")),
        context=Context.at(now, online.latest_at),
    )
    return state, ratings


def flat_tastes(tastes: Any) -> list[str]:
    """Names of authors and subjects from a profile: a list, or lists by kind."""
    if isinstance(tastes, dict):
        return [str(name) for names in tastes.values() for name in names]
    return [str(name) for name in tastes or []]


def age_bin(bundle: Bundle, profile: dict[str, Any], year: int) -> str | None:
    """The label of the bundle's age bin (`25-34`, `65+`), from the profile's own or from its birth year."""
    if profile.get("age_bin"):
        return str(profile["age_bin"])
    try:
        age = year - int(profile["birth_year"])
    except (KeyError, ValueError):
        return None
    return next((label for label in bundle.features.get("age_bins", []) if _within(age, str(label))), None)


def _within(age: int, label: str) -> bool:
    low, _, high = label.removesuffix("+").partition("-")
    if not low.isdigit():
        return False
    return int(low) <= age and (age <= int(high) if high.isdigit() else label.endswith("+"))
