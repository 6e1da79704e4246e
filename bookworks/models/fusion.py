"""Reciprocal rank fusion: several rankings joined into one (Cormack, Clarke, Buettcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

RRF_K = 60
_EQUAL: Mapping[str, float] = {}


def fused(
    lists: Mapping[str, Sequence[int]], banned: Collection[int] = (), weights: Mapping[str, float] = _EQUAL
) -> list[tuple[int, dict[str, float]]]:
    """Works, the best first, each with what every list added: its weight / (60 + rank), rank from 1.

    Args:
        lists: name -> work indices, the best first.
        banned: work indices that are left out, so that those behind move up.
        weights: name -> what the list counts; 1 where it is not named.
    """
    added: dict[int, dict[str, float]] = {}
    for name, indices in lists.items():
        weight = weights.get(name, 1.0)
        for rank, index in enumerate((i for i in indices if i not in banned), 1):
            added.setdefault(index, {})[name] = weight / (RRF_K + rank)
    return sorted(added.items(), key=lambda pair: (-sum(pair[1].values()), pair[0]))
