"""A recommendation in pure steps: history -> candidates -> score -> rules -> slate. No I/O but the vector search."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from cachetools import TTLCache

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import ids_of
from bookworks.countries import country_code
from bookworks.errors import TerminalError, TransientError
from bookworks.models.bundle import Bundle, Candidates, Order, Scored, without
from bookworks.models.fusion import fused
from bookworks.models.online_state import state_of
from bookworks.models.reader import Nearest, ReaderState
from bookworks.models.trees import Explained
from serving import metrics, rules, tracing
from serving.bundles import Served
from serving.facets import Bools, Filters
from serving.paths import Path, paths_to

logger = logging.getLogger("bookworks.serving")
_SAID, _SAYING = TTLCache[str, bool](100, ttl=60.0), threading.Lock()

N_NEAREST = 200
NARROW = 5000  # so few works that filters let through all have their vectors looked at
SHORTLIST = 5  # the rules look at this many times n, then at more and more of the catalogue
DEPTH = 500  # so many works a slate and its next pages are made of
NO_FILTERS = Filters()
VECTORS, HISTORY, RANKER = "vector_index", "history", "ranker"
# How much of a request's time may be gone when a step begins that can be left out; see `Budget`.
RANK_BY, EXPLAIN_BY = 0.75, 0.9


@dataclass(frozen=True)
class Budget:
    """The time that a request has.

    Attributes:
        started: as `time.perf_counter` counts.
        seconds: above 0.
    """

    started: float
    seconds: float

    def gone(self, share: float) -> bool:
        """Whether more than this share of the time is gone."""
        return time.perf_counter() > self.started + share * self.seconds


@dataclass
class Trace:
    """What happened on the way.

    Attributes:
        fallbacks: parts that were away.
        relaxed: rules that were broken for want of books.
        rest: works that may follow on the next page, in their order.
        candidates: what the ranker has put in order.
        blocked: names of the lists that held.
        budget: after shares of which steps that can be left out are left out; None: never.
    """

    fallbacks: list[str] = field(default_factory=list)
    relaxed: list[str] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)
    candidates: Candidates | None = None
    blocked: list[str] = field(default_factory=list)
    budget: Budget | None = None

    def late(self, share: float) -> bool:
        """Whether more than this share of the request's time is gone."""
        return self.budget is not None and self.budget.gone(share)

    def of(self, works: Sequence[int]) -> Trace:
        """The same of these works alone, so that it can be kept: no others that may follow, no other candidates."""
        seen = self.candidates
        if seen is not None:
            wanted = set(works)
            rows = np.array([row for row, work in enumerate(seen.works.tolist()) if work in wanted], dtype=np.int64)
            seen = Candidates(seen.works[rows], seen.rows[rows])
        return replace(self, rest=[], candidates=seen)

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
    """One book of a slate.

    Attributes:
        index: of the work.
        score: by which it was ranked.
        sources: what each added.
        explained: what the ranker says.
        marks: by which rules it came here out of its turn.
        chance: that it was shown, given the reader and the rules; below 1 where it was drawn.
        paths: books of the reader's history that lead to it; none where nobody asked.
    """

    index: int
    score: float
    sources: dict[str, float]
    explained: Explained | None = None
    marks: tuple[str, ...] = ()
    chance: float = 1.0
    paths: Sequence[Path] = ()

    @property
    def reasons(self) -> list[str]:
        """The rules that brought it, then sources that spoke for it, the strongest first."""
        spoke = [(value, name) for name, value in self.sources.items() if value > 0]
        return [*self.marks, *(name for _, name in sorted(spoke, reverse=True))]


@dataclass(frozen=True)
class Known:
    """A reader as the bundle understands it, and what must not be shown.

    Attributes:
        state: for the bundle; indices, oldest first.
        read: indices of works that were read or are owned.
        looked_at: of the others in the history.
        away: of works that were sent away, and of authors who were.
        ratings: of works of the history, above 0 to 10.
    """

    state: ReaderState
    read: frozenset[int] = frozenset()
    looked_at: frozenset[int] = frozenset()
    away: frozenset[int] = frozenset()
    ratings: Mapping[int, float] = field(default_factory=dict)

    @property
    def banned(self) -> frozenset[int]:
        """Works that must not be shown."""
        return self.read | self.looked_at | self.away


def history_step(served: Served, user_id: str, online: OnlineReader) -> Known:
    """From kept books to indices; books that the bundle does not know are passed over."""
    catalogue, bundle = served.catalogue, served.bundle
    state, ratings = state_of(bundle, catalogue.index, user_id, online, clock.now())
    seen, dismissed = (
        {i for i in (catalogue.index(*ids_of(book)) for book in books) if i is not None}
        for books in (online.seen, online.dismissed)
    )
    dismissed.update(i for author in online.dismissed_authors for i in catalogue.of_author(author))
    return Known(state, frozenset(seen), frozenset(set(state.history) - seen), frozenset(dismissed), ratings)


def youngest(profile: dict[str, Any]) -> int | None:
    """How many years old a reader is at least, from its birth year or its age bin."""
    try:
        if profile.get("birth_year"):
            return max(0, clock.now().year - int(profile["birth_year"]) - 1)
        return int(str(profile["age_bin"]).partition("-")[0].removesuffix("+"))
    except (KeyError, ValueError):
        return None


def candidates_step(served: Served, state: ReaderState, trace: Trace, allowed: Bools | None = None) -> Nearest | None:
    """The works nearest to the reader by the vector index; None: score the whole catalogue instead.

    Where filters let few works through, these are candidates too: the index knows no filters.
    """
    tier = served.bundle.tier_of(state)
    if not served.bundle.blend.tiers[tier].get("vectors"):
        return None
    vector = served.bundle.encode_reader(state)
    indices = nearest(served, vector, N_NEAREST, trace)
    if indices is not None and allowed is not None and np.count_nonzero(allowed) <= NARROW:
        indices = np.union1d(indices, np.flatnonzero(allowed))
    return None if indices is None else Nearest(vector, indices)


def nearest(served: Served, vector: Any, limit: int, trace: Trace) -> Any:
    """Indices from the vector index of the bundle's own version, or None when it is away."""
    collection = served.vectors
    if collection is not None:  # also when it is late: to score the whole catalogue instead takes longer
        try:
            indices, _ = served.vectors_breaker.call(lambda: collection.search(vector, limit))
            return _within_catalogue(served, indices)
        except TransientError:
            pass
        except Exception:  # an optional part costs no answer, whatever befalls it
            _say("the vector index failed")
    trace.without(VECTORS)
    return None


def _say(what: str) -> None:
    """Log the running exception, of each kind once a minute: a lasting fault would fill the disk."""
    with _SAYING:
        told, _SAID[what] = what in _SAID, True
    if not told:
        logger.exception(what)


def _within_catalogue(served: Served, indices: Any) -> Any:
    """The indices.

    Raises:
        TerminalError: some are of no work: the collection is another bundle's.
    """
    if indices.size and not 0 <= indices.min() <= indices.max() < len(served.bundle):
        raise TerminalError("The vector index knows works that the bundle does not have", received=indices.max())
    return indices


def shown_step(served: Served, known: Known, online: OnlineReader, filters: Filters, trace: Trace) -> Bools | None:
    """Which works filters and blocked lists let through, bool [n_works]; None: all."""
    blocked = blocked_for(served, known.state, online)
    trace.blocked = [one.policy.name for one in blocked]
    return rules.hide(blocked, served.catalogue.facets.mask(filters), len(served.bundle))


def blocked_for(served: Served, state: ReaderState, online: OnlineReader) -> list[rules.Blocked]:
    """The lists that hold for a reader."""
    return served.rules.blocked_for(country_code(state.country), youngest(online.profile))


def filter_step(scored: Scored, allowed: Bools | None) -> Scored:
    """Scores in which only works that are let through are to be found."""
    if allowed is None:
        return scored
    return replace(scored, total=np.where(allowed[scored.works], scored.total, np.float32(-np.inf)))


def rank_step(served: Served, state: ReaderState, scored: Scored, banned: Iterable[int], trace: Trace) -> Order:
    """The order in which works are shown; without the ranker, or when it is late, the blend's own."""
    if not (trace.late(RANK_BY) and served.bundle.ranker):
        try:
            return served.bundle.ranked(state, scored, banned)
        except Exception:  # an optional part costs no answer, whatever befalls it
            _say("the ranker failed")
    trace.without(RANKER)
    return Order(scored.works, without(scored, set(banned)))


def explain_step(bundle: Bundle, order: Order, chosen: list[int], trace: Trace) -> list[Explained | None]:
    """What the ranker says of each chosen work; nothing when it is late."""
    if not (trace.late(EXPLAIN_BY) and bundle.ranker):
        try:
            return bundle.explained(order, chosen)
        except Exception:  # an optional part costs no answer, whatever befalls it
            _say("the ranker explains nothing")
    trace.without(RANKER)
    return [None] * len(chosen)


@dataclass(frozen=True)
class Turn:
    """What a slate is made for.

    Attributes:
        known: the reader.
        online: what the reader was shown, and when.
        n: length of the slate, at least 1.
        allowed: which works filters and lists let through; None: all.
        banned: further works that must not be shown.
        seed: of what is drawn.
        page: the works that an earlier page left, in their order; None: this is the first.
    """

    known: Known
    online: OnlineReader
    n: int
    allowed: Bools | None = None
    banned: frozenset[int] = frozenset()
    seed: str = ""
    page: Sequence[int] | None = None


def rules_step(served: Served, order: Order, turn: Turn) -> tuple[rules.Slate, list[int]]:
    """The slate, and the works that may follow it.

    A shortlist is enough nearly always, else more and more of what is in order is looked through.
    """
    ruled = served.rules
    read = ruled.volumes.read(served.catalogue.with_twins(turn.known.read)) if ruled.volumes else ()
    promoted = _shown(order, sorted(ruled.promoted)) if turn.page is None else {}
    ahead = sorted(promoted, key=lambda i: (-promoted[i], i))
    first = reordered(served, order.first(DEPTH), turn.online) if turn.page is None else list(_shown(order, turn.page))
    exploration = ruled.policy.exploration
    length = max(turn.n * SHORTLIST, turn.n + exploration.pool if exploration.share else 0)
    for ranked in _wider(first, order, length, turn.page is None):
        slate = rules.assemble(ranked, turn.n, ruled, read=read, promoted=ahead, seed=turn.seed)
        if len(slate.works) == turn.n:
            break
    gone = served.catalogue.with_twins(slate.works)
    return slate, [i for i in first if i not in gone]


def _shown(order: Order, works: Sequence[int]) -> dict[int, float]:
    """Those of the works that may be shown, with their scores."""
    if not works or not order.works.size:
        return {}
    wanted = np.asarray(works, dtype=np.int64)
    at = np.minimum(np.searchsorted(order.works, wanted), order.works.size - 1)
    there = (order.works[at] == wanted) & np.isfinite(order.total[at])
    return dict(zip(wanted[there].tolist(), order.total[at[there]].tolist(), strict=True))


def _wider(first: list[int], order: Order, length: int, all_of_it: bool) -> Iterator[list[int]]:
    """More and more works, best first: of `first`, then of all in order."""
    if length < len(first):
        yield first[:length]
    yield first
    length, found = DEPTH, len(first)
    while all_of_it and found >= length and length < order.works.size:
        length *= 10
        following = order.first(length)
        found, have = len(following), set(first)
        yield first + [i for i in following if i not in have]


def reordered(served: Served, ranked: list[int], online: OnlineReader) -> list[int]:
    """Works with those just shown moved back and the new ones moved ahead, where the rules say so."""
    policy, now = served.rules.policy, clock.now()
    if not (policy.recently_shown.places or policy.freshness.places):
        return ranked
    shown = {i: at for work, at in online.shown.items() if (i := served.bundle.index_of.get(work)) is not None}
    return rules.reordered(
        ranked,
        policy.recently_shown,
        policy.freshness,
        shown=shown,
        years=served.catalogue.facets.years,
        now_ms=now.timestamp() * 1000,
        this_year=now.year,
    )


def slate_step(served: Served, near: Nearest | None, turn: Turn, trace: Trace) -> tuple[Scored, Order, rules.Slate]:
    """Scores, order and the works to show: of what may come first, else, where that is too little, of all works."""
    bundle, state = served.bundle, turn.known.state
    wanted = max(turn.n * SHORTLIST, DEPTH) + (bundle.ranker.candidates if bundle.ranker else 0)
    with trace.step("candidates"):
        pool = _with(
            bundle.pool(state, near, wanted + len(turn.banned), turn.allowed), served.rules.promoted, turn.page
        )
    for works in (pool, None) if pool is not None else (None,):
        with trace.step("score"):
            scored = filter_step(bundle.score(state, near, works=works), turn.allowed)
        with trace.step("rank"):
            order = rank_step(served, state, scored, turn.banned, trace)
        with trace.step("rules"):
            slate, trace.rest = rules_step(served, order, turn)
        if len(slate.works) == turn.n or turn.page is not None or _holds(works, turn.allowed):
            break
    trace.relaxed, trace.candidates = slate.relaxed, order.candidates
    return scored, order, slate


def _holds(works: Any, allowed: Bools | None) -> bool:
    """Whether these are all works that are let through."""
    if works is None or allowed is None:
        return works is None
    return bool(np.count_nonzero(allowed[works]) == np.count_nonzero(allowed))


def _with(pool: Any, promoted: Iterable[int], page: Sequence[int] | None) -> Any:
    """The pool with further works that must be scored."""
    more = [*promoted, *(page or ())]
    return pool if pool is None or not more else np.union1d(pool, np.asarray(more, dtype=np.int64))


def recommend(
    served: Served,
    user_id: str,
    online: OnlineReader,
    n: int,
    exclude: Iterable[str],
    trace: Trace,
    explain: bool = False,
    filters: Filters = NO_FILTERS,
    seed: str = "",
    page: Sequence[int] | None = None,
) -> tuple[list[Item], str]:
    """The slate and its tier.

    Args:
        served: the bundle that answers.
        user_id: the reader.
        online: what Redis knows of the reader; empty is welcome.
        n: length of the slate, at least 1.
        exclude: works, editions or ISBNs not to show this time.
        trace: takes note of what was away, which rules were broken, and what may follow.
        explain: say of each book what the ranker made of it, and which books of the history lead to it.
        filters: hide works before they are ranked.
        seed: of what is drawn, for example the decision's id.
        page: the works that an earlier page left (`Trace.rest`); None: the first page.
    """
    bundle = served.bundle
    with trace.step("history"):
        known = history_step(served, user_id, online)
    with trace.step("candidates"):
        allowed = shown_step(served, known, online, filters, trace)
        near = candidates_step(served, known.state, trace, allowed)
    extra = {i for i in map(served.catalogue.index, exclude) if i is not None}
    banned = frozenset(served.catalogue.with_twins(known.banned | extra))
    turn = Turn(known, online, n, allowed, banned, seed, page)
    scored, order, slate = slate_step(served, near, turn, trace)
    with trace.step("slate"):
        chosen = slate.works
        told = explain_step(bundle, order, chosen, trace) if explain else [None] * len(chosen)
        paths = (
            paths_to(bundle, served.catalogue, known.state, chosen, known.ratings) if explain else [[] for _ in chosen]
        )
        places = np.searchsorted(scored.works, chosen).tolist()
        items = [
            Item(
                i,
                float(order.total[at]),
                {name: float(part[at]) for name, part in scored.added.items()},
                why,
                _marks(slate, i),
                slate.chance.get(i, 1.0),
                led,
            )
            for i, at, why, led in zip(chosen, places, told, paths, strict=True)
        ]
    return items, bundle.tier_of(known.state)


def _marks(slate: rules.Slate, index: int) -> tuple[str, ...]:
    drawn = (rules.EXPLORATION,) if index in slate.chance else ()
    return (rules.PROMOTED, *drawn) if index in slate.lifted else drawn


def fuse(lists: dict[str, list[int]], banned: set[int]) -> list[Item]:
    """Reciprocal rank fusion: score = sum over lists of 1 / (60 + rank), rank from 1."""
    return [Item(index, sum(parts.values()), parts) for index, parts in fused(lists, banned)]
