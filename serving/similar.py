"""Books like a book, by kind: what the same readers read, what is alike in content, the author's, the series'."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from bookworks.models.bundle import Bundle
from bookworks.models.ordering import top
from bookworks.models.reader import ReaderState
from serving.bundles import Served
from serving.catalogue import Catalogue
from serving.pipeline import Item, Trace, fuse, nearest

N_NEIGHBOURS = 50
BY_READERS = ("item_filter", "content_ease")  # item-item models; a bundle may lack all but the first
BY_TEXT = "title_text"


class Kind(StrEnum):
    """In what books are alike."""

    ALL = "all"
    BEHAVIOUR = "behaviour"
    CONTENT = "content"
    AUTHOR = "author"
    SERIES = "series"


def similar(served: Served, index: int, n: int, trace: Trace, kind: Kind = Kind.ALL) -> list[Item]:
    """Neighbours of a work, the lists of its kind fused by rank; never the work itself nor a twin of it.

    Nor one of a blocked list that holds for somebody of whom neither country nor age is known.

    Args:
        served: the bundle that answers.
        index: the work.
        n: length of the list; fewer where there are no more.
        trace: takes note of what was away.
        kind: in what they are alike.
    """
    lists = _LISTS[kind](served, index, max(n, N_NEIGHBOURS), trace)
    blocked = (one.works.tolist() for one in served.rules.blocked_for(None, None))
    return fuse(lists, served.catalogue.with_twins([index]).union(*blocked))[:n]


def _all(served: Served, index: int, limit: int, trace: Trace) -> dict[str, list[int]]:
    return {
        "item_filter": _neighbours(served.bundle, "item_filter", index, limit),
        "vectors": _near(served, index, limit, trace),
        **_of_author(served, index, limit, trace),
    }


def _of_readers(served: Served, index: int, limit: int, _: Trace) -> dict[str, list[int]]:
    bundle = served.bundle
    return {name: _neighbours(bundle, name, index, limit) for name in BY_READERS if name in bundle.item_item}


def _of_content(served: Served, index: int, limit: int, trace: Trace) -> dict[str, list[int]]:
    bundle = served.bundle
    titles = {BY_TEXT: _neighbours(bundle, BY_TEXT, index, limit)} if BY_TEXT in bundle.item_item else {}
    return titles | {"vectors": _near(served, index, limit, trace)}


def _of_author(served: Served, index: int, limit: int, _: Trace) -> dict[str, list[int]]:
    scores = served.bundle.popularity_scores(ReaderState())
    by_popularity = sorted(served.catalogue.same_author(index), key=lambda i: (-float(scores[i]), i))
    return {"author": by_popularity[:limit]}


def _of_series(served: Served, index: int, limit: int, _: Trace) -> dict[str, list[int]]:
    return {"series": in_series(served.catalogue, index)[:limit]}


_LISTS: dict[Kind, Callable[[Served, int, int, Trace], dict[str, list[int]]]] = {
    Kind.ALL: _all,
    Kind.BEHAVIOUR: _of_readers,
    Kind.CONTENT: _of_content,
    Kind.AUTHOR: _of_author,
    Kind.SERIES: _of_series,
}


def in_series(catalogue: Catalogue, index: int) -> list[int]:
    """The other works of a series: those that come after this one, then those before it, then those without a number.

    Where this one has no number, all that have one come in their order.
    """
    places = catalogue.columns["series_number"]
    own = places[index] if places[index] is not None else float("-inf")

    def order(other: int) -> tuple[int, float, int]:
        place = places[other]
        if place is None:
            return 2, 0.0, other
        return int(place <= own), place, other

    return sorted(catalogue.same_series(index), key=order)


def _neighbours(bundle: Bundle, name: str, index: int, limit: int) -> list[int]:
    """The strongest entries of the work's row of an item-item model; only those that say something."""
    scores = bundle.item_item[name].scores([index], [1.0])
    return [i for i in top(scores, limit).tolist() if scores[i] > 0]


def _near(served: Served, index: int, limit: int, trace: Trace) -> list[int]:
    """The nearest in the vector index; when it is away, the bundle's own vectors are searched one by one."""
    vectors = served.bundle.item_vectors
    found = nearest(served, vectors[index], limit, trace)
    return [int(i) for i in (top(vectors @ vectors[index], limit) if found is None else found)]
