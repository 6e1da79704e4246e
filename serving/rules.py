"""Rules of the slate: nothing already read or sent away, no twin of it, at most so many of an author or a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rules:
    """What a slate must hold to; 0 means no limit."""

    max_per_author: int = 0
    max_per_series: int = 0

    @classmethod
    def from_json(cls, rules: Mapping[str, Any]) -> Rules:
        """From the bundle's `rules.json`; a series has its author's limit unless it has its own."""
        author = int(rules.get("max_per_author") or 0)
        return cls(author, int(rules.get("max_per_series", author) or 0))


def with_twins(
    banned: Iterable[int], twin_keys: Sequence[str | None], indices_of_twin: Mapping[str, list[int]]
) -> set[int]:
    """`banned` and every work with the same title and author as one of them."""
    wider = set(banned)
    for index in list(wider):
        key = twin_keys[index]
        if key is not None:
            wider.update(indices_of_twin[key])
    return wider


def choose(
    ranked: Iterable[int],
    n: int,
    rules: Rules,
    *,
    authors: Sequence[Hashable | None],
    series: Sequence[Hashable | None],
    twins: Sequence[Hashable | None],
) -> list[int]:
    """The first `n` of `ranked` that keep the rules; then, if these are too few, the ones that a limit held back.

    Args:
        ranked: work indices, best first.
        n: length of the slate.
        rules: the limits.
        authors: the author's key of each work, None when unknown.
        series: the series of each work, None when it is in none.
        twins: key of works that are most likely the same book; two of them are never shown together.
    """
    kept: list[int] = []
    late: list[int] = []
    per_author: Counter[Hashable] = Counter()
    per_series: Counter[Hashable] = Counter()
    shown: set[Hashable] = set()
    for index in ranked:
        if twins[index] is not None and twins[index] in shown:
            continue
        if _full(per_author, authors[index], rules.max_per_author) or _full(
            per_series, series[index], rules.max_per_series
        ):
            late.append(index)
            continue
        kept.append(index)
        per_author[authors[index]] += 1
        per_series[series[index]] += 1
        shown.add(twins[index])
        if len(kept) == n:
            return kept
    for index in late:
        if len(kept) == n:
            break
        if twins[index] is None or twins[index] not in shown:
            kept.append(index)
            shown.add(twins[index])
    return kept


def _full(count: Counter[Hashable], key: Hashable | None, limit: int) -> bool:
    return bool(limit) and key is not None and count[key] >= limit
