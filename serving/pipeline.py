"""A recommendation in pure steps: history -> candidates -> score -> rules -> slate. No I/O but the vector search."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import ids_of
from bookworks.errors import BookworksError
from bookworks.models.bundle import Bundle, Order, Scored, top, without
from bookworks.models.reader import Context, Nearest, ReaderState
from bookworks.models.trees import Explained
from serving import metrics, rules, tracing
from serving.bundles import Served

N_NEAREST = 200
N_NEIGHBOURS = 50
SHORTLIST = 5  # the rules look at this many times n, then at the whole catalogue
RRF_K = 60  # Cormack, Clarke, Buettcher 2009: reciprocal rank fusion
VECTORS, HISTORY, RANKER = "vector_index", "history", "ranker"


@dataclass
class Trace:
    """What happened on the way: parts that were away."""

    fallbacks: list[str] = field(default_factory=list)

    def without(self, part: str) -> None:
        """Note that `part` was away."""
        if part not in self.fallbacks:
            self.fallbacks.append(part)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step."""
        started = time.perf_counter()
        with tracing.span(name):
            yield
        metrics.STEPS.labels(name).observe(time.perf_counter() - started)


@dataclass(frozen=True)
class Item:
    """One book of a slate."""

    index: int
    score: float
    sources: dict[str, float]
    explained: Explained | None = None

    @property
    def reasons(self) -> list[str]:
        """Sources that spoke for it, the strongest first."""
        spoke = [(value, name) for name, value in self.sources.items() if value > 0]
        return [name for _, name in sorted(spoke, reverse=True)]


@dataclass(frozen=True)
class Known:
    """A reader as the bundle understands it, and what must not be shown.

    Attributes:
        state: for the bundle; indices, oldest first.
        banned: indices of works read, owned or sent away, of the history, and of authors sent away.
    """

    state: ReaderState
    banned: frozenset[int]


def history_step(served: Served, user_id: str, online: OnlineReader) -> Known:
    """From kept books to indices; books that the bundle does not know are passed over.

    Several books of one work (editions, ids that were merged) count once, at the latest time, with the greatest weight.
    """
    catalogue, bundle = served.catalogue, served.bundle
    history: dict[int, float] = {}
    for book in online.history:  # the latest first
        index = catalogue.index(*ids_of(book))
        if index is not None:
            history[index] = max(history.get(index, 0.0), online.weights.get(book, 1.0))
    found = (catalogue.index(*ids_of(book)) for book in online.seen | online.dismissed)
    banned = {i for i in found if i is not None}
    banned.update(i for author in online.dismissed_authors for i in catalogue.of_author(author))
    oldest_first = list(history)[::-1]
    state = ReaderState(
        user_id=user_id,
        history=oldest_first,
        weights=[history[i] for i in oldest_first],
        age_bin=age_bin(bundle, online.profile),
        country=online.profile.get("country"),
        tastes=flat_tastes(online.profile.get("tastes")),
        context=Context.at(clock.now(), online.latest_at),
    )
    return Known(state, frozenset(banned | set(history)))


def flat_tastes(tastes: Any) -> list[str]:
    """Names of authors and subjects from a profile: a list, or lists by kind."""
    if isinstance(tastes, dict):
        return [str(name) for names in tastes.values() for name in names]
    return [str(name) for name in tastes or []]


def age_bin(bundle: Bundle, profile: dict[str, Any]) -> str | None:
    """The label of the bundle's age bin (`25-34`, `65+`), from the profile's own or from its birth year."""
    if profile.get("age_bin"):
        return str(profile["age_bin"])
    try:
        age = clock.now().year - int(profile["birth_year"])
    except (KeyError, ValueError):
        return None
    return next((label for label in bundle.features.get("age_bins", []) if _within(age, str(label))), None)


def _within(age: int, label: str) -> bool:
    low, _, high = label.removesuffix("+").partition("-")
    if not low.isdigit():
        return False
    return int(low) <= age and (age <= int(high) if high.isdigit() else label.endswith("+"))


def candidates_step(served: Served, state: ReaderState, trace: Trace) -> Nearest | None:
    """The works nearest to the reader by the vector index; None: score the whole catalogue instead."""
    tier = served.bundle.tier_of(state)
    if not served.bundle.blend.tiers[tier].get("vectors"):
        return None
    vector = served.bundle.encode_reader(state)
    indices = nearest(served, vector, N_NEAREST, trace)
    return None if indices is None else Nearest(vector, indices)


def nearest(served: Served, vector: Any, limit: int, trace: Trace) -> Any:
    """Indices from the vector index of the bundle's own version, or None when it is away."""
    collection = served.vectors
    if collection is not None:
        try:
            indices, _ = served.vectors_breaker.call(lambda: collection.search(vector, limit))
            return indices
        except BookworksError:
            pass
    trace.without(VECTORS)
    return None


def rank_step(served: Served, state: ReaderState, scored: Scored, banned: Iterable[int], trace: Trace) -> Order:
    """The order in which works are shown; without the ranker the blend's own."""
    try:
        return served.bundle.ranked(state, scored, banned)
    except BookworksError:
        trace.without(RANKER)
        return Order(scored.works, without(scored, set(banned)))


def explain_step(bundle: Bundle, order: Order, chosen: list[int], trace: Trace) -> list[Explained | None]:
    """What the ranker says of each chosen work."""
    try:
        return bundle.explained(order, chosen)
    except BookworksError:
        trace.without(RANKER)
        return [None] * len(chosen)


def rules_step(served: Served, order: Order, n: int) -> list[int]:
    """Works to show, best first: a shortlist is enough nearly always, else all that are in order are looked through."""
    catalogue = served.catalogue
    chosen: list[int] = []
    for length in (n * SHORTLIST, order.works.size):
        chosen = rules.choose(
            order.first(length),
            n,
            served.rules,
            authors=catalogue.author_keys,
            series=catalogue.series,
            twins=catalogue.twin_keys,
        )
        if len(chosen) == n or length >= order.works.size:
            break
    return chosen


def slate_step(
    served: Served, state: ReaderState, near: Nearest | None, banned: set[int], n: int, trace: Trace
) -> tuple[Scored, Order, list[int]]:
    """Scores, order and the works to show: of what may come first, else, where that is too little, of all works."""
    bundle = served.bundle
    wanted = n * SHORTLIST + (bundle.ranker.candidates if bundle.ranker else 0)
    with trace.step("candidates"):
        pool = bundle.pool(state, near, wanted + len(banned))
    for works in (pool, None) if pool is not None else (None,):
        with trace.step("score"):
            scored = bundle.score(state, near, works=works)
        with trace.step("rank"):
            order = rank_step(served, state, scored, banned, trace)
        with trace.step("rules"):
            chosen = rules_step(served, order, n)
        if len(chosen) == n:
            break
    return scored, order, chosen


def recommend(
    served: Served,
    user_id: str,
    online: OnlineReader,
    n: int,
    exclude: Iterable[str],
    trace: Trace,
    explain: bool = False,
) -> tuple[list[Item], str]:
    """The slate and its tier.

    Args:
        served: the bundle that answers.
        user_id: the reader.
        online: what Redis knows of the reader; empty is welcome.
        n: length of the slate, at least 1.
        exclude: works, editions or ISBNs not to show this time.
        trace: takes note of what was away.
        explain: say of each book what the ranker made of it.
    """
    bundle = served.bundle
    with trace.step("history"):
        known = history_step(served, user_id, online)
    with trace.step("candidates"):
        near = candidates_step(served, known.state, trace)
    extra = {i for i in map(served.catalogue.index, exclude) if i is not None}
    catalogue = served.catalogue
    banned = rules.with_twins(known.banned | extra, catalogue.twin_keys, catalogue.indices_of_twin)
    scored, order, chosen = slate_step(served, known.state, near, banned, n, trace)
    with trace.step("slate"):
        told = explain_step(bundle, order, chosen, trace) if explain else [None] * len(chosen)
        places = np.searchsorted(scored.works, chosen).tolist()
        items = [
            Item(i, float(order.total[at]), {name: float(part[at]) for name, part in scored.added.items()}, why)
            for i, at, why in zip(chosen, places, told, strict=True)
        ]
    return items, bundle.tier_of(known.state)


def similar(served: Served, index: int, n: int, trace: Trace) -> list[Item]:
    """Neighbours of a work: item filter, vectors and same author, fused by rank."""
    bundle, catalogue = served.bundle, served.catalogue
    filtered = bundle.item_filter_scores([index], [1.0])
    found = nearest(served, bundle.item_vectors[index], N_NEIGHBOURS, trace)
    if found is None:
        found = top(bundle.item_vectors @ bundle.item_vectors[index], N_NEIGHBOURS)
    lists = {
        "item_filter": [i for i in top(filtered, N_NEIGHBOURS) if filtered[i] > 0],
        "vectors": [int(i) for i in found],
        "author": _by_popularity(bundle, catalogue.same_author(index))[:N_NEIGHBOURS],
    }
    twins = set(catalogue.indices_of_twin.get(catalogue.twin_keys[index] or "", [])) | {index}
    return fuse(lists, twins)[:n]


def _by_popularity(bundle: Bundle, indices: list[int]) -> list[int]:
    scores = bundle.popularity_scores(ReaderState())
    return sorted(indices, key=lambda i: (-float(scores[i]), i))


def fuse(lists: dict[str, list[int]], banned: set[int]) -> list[Item]:
    """Reciprocal rank fusion: score = sum over lists of 1 / (60 + rank), rank from 1."""
    sources: dict[int, dict[str, float]] = {}
    for name, indices in lists.items():
        kept = [i for i in indices if i not in banned]
        for rank, index in enumerate(kept, 1):
            sources.setdefault(index, {})[name] = 1.0 / (RRF_K + rank)
    items = [Item(index, sum(parts.values()), parts) for index, parts in sources.items()]
    return sorted(items, key=lambda item: (-item.score, item.index))
