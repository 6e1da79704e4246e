"""Why a book is near to a reader, in the catalogue: books of the reader's own history, and how they lead to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import ITEM_FILTER
from bookworks.models.reader import ReaderState
from serving.catalogue import Catalogue

Relation = Literal["next_in_series", "same_series", "same_author", "read_by_the_same_readers"]
MOST = 3  # of one book


class Path(NamedTuple):
    """One book of the history that leads to a book.

    Attributes:
        relation: how.
        index: of the work in the history.
        weight: the reader's of it, 0 to 1.
        rating: what the reader rated it, above 0 to 10.
    """

    relation: Relation
    index: int
    weight: float
    rating: float | None = None


def paths_to(
    bundle: Bundle,
    catalogue: Catalogue,
    state: ReaderState,
    works: Sequence[int],
    ratings: Mapping[int, float] = MappingProxyType({}),
) -> list[list[Path]]:
    """Of each work its `MOST` strongest paths: of each relation the strongest, then of each the second, and so on.

    A book of the history leads to a work by the first relation alone of those that hold, in the order of `Relation`.
    """
    if not state.history or not works:
        return [[] for _ in works]
    weights = dict(zip(state.history, state.weights or [1.0] * len(state.history), strict=True))
    entries = bundle.item_item[ITEM_FILTER].matrix[state.history][:, list(works)].toarray()  # [n_history, n_works]
    found = (
        _strongest(_related(catalogue, weights, work, entries[:, column]), weights) for column, work in enumerate(works)
    )
    return [[path._replace(rating=ratings.get(path.index)) for path in paths] for paths in found]


def _related(
    catalogue: Catalogue, weights: Mapping[int, float], work: int, entries: npt.NDArray[np.float32]
) -> Iterator[tuple[Relation, dict[int, float]]]:
    """Of each relation the books of the history that have it, with their strengths."""
    in_series = [h for h in catalogue.same_series(work) if h in weights]
    before = _just_before(catalogue, work)
    yield "next_in_series", {h: weights[h] for h in in_series if h in before}
    yield "same_series", {h: weights[h] for h in in_series}
    yield "same_author", {h: weights[h] for h in catalogue.same_author(work) if h in weights}
    yield (
        "read_by_the_same_readers",
        {h: weights[h] * float(entry) for h, entry in zip(weights, entries, strict=True) if entry > 0},
    )


def _just_before(catalogue: Catalogue, work: int) -> set[int]:
    """The volumes that come right before a work in its series."""
    places = catalogue.columns["series_number"]
    own = places[work]
    if own is None:
        return set()
    earlier = {h: places[h] for h in catalogue.same_series(work) if places[h] is not None and places[h] < own}
    last = max(earlier.values(), default=own)
    return {h for h, place in earlier.items() if place == last}


def _strongest(related: Iterator[tuple[Relation, dict[int, float]]], weights: Mapping[int, float]) -> list[Path]:
    ranked: list[tuple[int, Path]] = []
    named: set[int] = set()
    for relation, strengths in related:
        books = sorted(strengths.keys() - named, key=lambda h: (-strengths[h], h))[:MOST]
        ranked += [(place, Path(relation, h, weights[h])) for place, h in enumerate(books)]
        named.update(strengths)
    return [path for _, path in sorted(ranked, key=lambda one: one[0])[:MOST]]  # stable: relations in their order
