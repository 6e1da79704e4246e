"""The rules of `serving.policy` for the works of one bundle, and the slate that keeps them."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bookworks.models.bundle import Bundle
from bookworks.models.work_facts import WorkFacts
from serving.catalogue import Catalogue
from serving.facets import AUTHORS, SUBJECTS, Bools
from serving.policy import BlockList, Freshness, Policy, RecentlyShown

logger = logging.getLogger("bookworks.serving")
Ints = npt.NDArray[np.int64]
PROMOTED, EXPLORATION, SERIES_IN_ORDER = "promoted", "exploration", "series_in_order"
_HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class Limit:
    """At most `most` works of one key in a slate.

    Attributes:
        name: as in the policy.
        most: at least 1.
        keys: of each work its key, a list of keys, or None.
    """

    name: str
    most: int
    keys: Sequence[Any]

    def of(self, index: int) -> Collection[Hashable]:
        """The keys of a work."""
        key = self.keys[index]
        if key is None:
            return ()
        return set(key) if isinstance(key, list) else (key,)


class Volumes:
    """Which volumes of a series come before which; only whole numbers from 1 on must be read."""

    def __init__(self, facts: WorkFacts) -> None:
        self._series, self._place = facts.group["series_id"], facts.place
        volumes: dict[int, set[float]] = {}
        with np.errstate(invalid="ignore"):
            whole = (self._series > 0) & (self._place >= 1) & (self._place == np.floor(self._place))
        for index in np.flatnonzero(whole).tolist():
            volumes.setdefault(int(self._series[index]), set()).add(float(self._place[index]))
        self._volumes = {series: sorted(places) for series, places in volumes.items()}

    def read(self, works: Iterable[int]) -> set[tuple[int, float]]:
        """Series and place of the works that have both."""
        return {(int(self._series[i]), float(self._place[i])) for i in works if self._series[i]}

    def missing(self, index: int, read: Collection[tuple[int, float]]) -> list[float]:
        """Volumes before this work that the catalogue has and the reader has not read."""
        series, place = int(self._series[index]), float(self._place[index])
        earlier = self._volumes.get(series, []) if series else []
        return [volume for volume in earlier if volume < place and (series, volume) not in read]


@dataclass(frozen=True)
class Blocked:
    """A list of the policy with the works of the bundle that it means."""

    policy: BlockList
    works: Ints


@dataclass(frozen=True)
class Rules:
    """The policy, for one bundle.

    Attributes:
        policy: what holds.
        twins: key of works that are most likely the same book; two of them are never shown together.
        limits: those that are set.
        volumes: which volumes come first, if that is a rule.
        blocked: the lists.
        promoted: works to put forward.
    """

    policy: Policy
    twins: Sequence[Hashable | None]
    limits: tuple[Limit, ...] = ()
    volumes: Volumes | None = None
    blocked: tuple[Blocked, ...] = ()
    promoted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, policy: Policy, bundle: Bundle, catalogue: Catalogue) -> Rules:
        """The policy for the works of `bundle`."""
        return cls(
            policy,
            catalogue.twin_keys,
            limits_of(policy, bundle.rules, catalogue),
            Volumes(bundle.facts) if policy.series_in_order else None,
            tuple(Blocked(one, _works_of(one, catalogue)) for one in policy.blocked),
            frozenset(_indices(policy.promoted.books, catalogue, "promoted")),
        )

    @cached_property
    def described(self) -> dict[str, Any]:
        """The policy and the limits, without the books of its lists."""
        policy = self.policy.model_dump(mode="json", exclude={"blocked": True, "promoted": {"books"}})
        return policy | {"limits": {one.name: one.most for one in self.limits}}

    def blocked_for(self, country: str | None, age: int | None) -> list[Blocked]:
        """The lists that hold for a reader."""
        return [one for one in self.blocked if one.policy.holds_for(country, age)]


def hide(blocked: Iterable[Blocked], allowed: Bools | None, n: int) -> Bools | None:
    """Of `n` works those that are let through, less what the lists hold; None: all."""
    for one in blocked:
        allowed = np.ones(n, dtype=np.bool_) if allowed is None else allowed
        allowed[one.works] = False
    return allowed


def limits_of(policy: Policy, bundled: Mapping[str, Any], catalogue: Catalogue) -> tuple[Limit, ...]:
    """The limits that are set; what the policy leaves open, the bundle's `rules.json` says."""
    limits = policy.limits
    author = int(bundled.get("max_per_author") or 0) if limits.author is None else limits.author
    series = int(bundled.get("max_per_series", author) or 0) if limits.series is None else limits.series
    columns = catalogue.columns
    every = (
        Limit("author", author, catalogue.author_keys),
        Limit("series", series, catalogue.series),
        Limit("publisher", limits.publisher, columns["publisher"]),
        Limit("subject", limits.subject, columns["subjects"]),
    )
    return tuple(one for one in every if one.most)


def _works_of(blocked: BlockList, catalogue: Catalogue) -> Ints:
    found = set(_indices(blocked.books, catalogue, blocked.name))
    for name, values in ((AUTHORS, blocked.authors), (SUBJECTS, blocked.subjects)):
        for value in values:
            works = catalogue.facets.works_of(name, value)
            found.update([] if works is None else works.tolist())
    wider = catalogue.with_twins(found)
    return np.fromiter(sorted(wider), dtype=np.int64, count=len(wider))


def _indices(books: Iterable[str], catalogue: Catalogue, name: str) -> list[int]:
    found = {book: catalogue.index(book) for book in books}
    if missing := [book for book, index in found.items() if index is None]:
        logger.warning("rules: %d books of %r are not in this bundle, the first is %s", len(missing), name, missing[0])
    return [index for index in found.values() if index is not None]


def reordered(
    ranked: list[int],
    recently: RecentlyShown,
    freshness: Freshness,
    *,
    shown: Mapping[int, float],
    years: npt.NDArray[np.float32],
    now_ms: float,
    this_year: int,
) -> list[int]:
    """Works with those just shown moved back and the new ones moved ahead, by places in the list.

    Args:
        ranked: work indices, best first.
        recently: how far back.
        freshness: how far ahead.
        shown: when a work was last shown, in ms since 1970.
        years: of each work of the catalogue, NaN where unknown, float32 [n_works].
        now_ms: now, in ms since 1970.
        this_year: the year that has no age.
    """
    works = np.asarray(ranked, dtype=np.int64)
    place = np.arange(works.size, dtype=np.float64)
    if freshness.places:
        age = np.maximum(0.0, this_year - years[works])
        place -= np.nan_to_num(freshness.places * 0.5 ** (age / freshness.half_life_years))
    if recently.places and shown:
        at = dict(zip(ranked, range(works.size), strict=True))
        for index in at.keys() & shown.keys():
            hours = max(0.0, now_ms - shown[index]) / _HOUR_MS
            place[at[index]] += recently.places * 0.5 ** (hours / recently.half_life_hours)
    order: list[int] = works[np.argsort(place, kind="stable")].tolist()
    return order


class Picker:
    """A slate in the making.

    Attributes:
        kept: the works so far.
        broken: names of rules that were broken for one of them.
    """

    def __init__(self, rules: Rules, read: Collection[tuple[int, float]] = (), works: Iterable[int] = ()) -> None:
        self.kept: list[int] = []
        self.broken: set[str] = set()
        self._rules, self._read = rules, read
        self._counts: list[Counter[Hashable]] = [Counter() for _ in rules.limits]
        self._shown: set[Hashable] = set()
        for index in works:
            self.take(index)

    def breaks(self, index: int) -> list[str]:
        """Soft rules that this work would break now."""
        names = [
            limit.name
            for limit, count in zip(self._rules.limits, self._counts, strict=True)
            if any(count[key] >= limit.most for key in limit.of(index))
        ]
        volumes = self._rules.volumes
        if volumes is not None and volumes.missing(index, self._read):
            names.append(SERIES_IN_ORDER)
        return names

    def repeats(self, index: int) -> bool:
        """Whether this work or one most likely the same is in the slate."""
        twin = self._rules.twins[index]
        return (index if twin is None else twin) in self._shown

    def take(self, index: int, breaks: Iterable[str] = ()) -> None:
        """Put a work into the slate, which breaks these rules."""
        self.broken.update(breaks)
        twin = self._rules.twins[index]
        self.kept.append(index)
        self._shown.add(index if twin is None else twin)
        for limit, count in zip(self._rules.limits, self._counts, strict=True):
            count.update(limit.of(index))

    def copy(self) -> Picker:
        """Another with the same works."""
        return Picker(self._rules, self._read, self.kept)

    def pick(self, ranked: Iterable[int], n: int, may_break: Collection[str] = ()) -> None:
        """Take works in their order until there are `n`, passing over those that break another rule."""
        for index in ranked:
            if len(self.kept) >= n:
                return
            if self.repeats(index):
                continue
            breaks = self.breaks(index)
            if all(name in may_break for name in breaks):
                self.take(index, breaks)


@dataclass(frozen=True)
class Slate:
    """Works to show.

    Attributes:
        works: indices in their order.
        relaxed: rules that were broken, in the order in which they may be.
        chance: of each work that was drawn, the probability that it was.
        lifted: works that were put forward.
    """

    works: list[int]
    relaxed: list[str]
    chance: dict[int, float] = field(default_factory=dict)
    lifted: frozenset[int] = frozenset()


def assemble(
    ranked: Sequence[int],
    n: int,
    rules: Rules,
    *,
    read: Collection[tuple[int, float]] = (),
    promoted: Sequence[int] = (),
    seed: str = "",
) -> Slate:
    """A slate of `n` works, or of as many as the rules allow.

    Args:
        ranked: work indices, best first; none that must not be shown.
        n: at least 1.
        rules: what to keep.
        read: from `Volumes.read`.
        promoted: works to put forward, best first; none that must not be shown.
        seed: of what is drawn; the same seed draws the same.
    """
    explored = int(n * rules.policy.exploration.share)
    picker, lifted = _organic(ranked, n - explored, int(n * rules.policy.promoted.share), rules, read, promoted)
    chance = _explored(picker, ranked, explored, rules.policy.exploration.pool, seed) if explored else {}
    relax = rules.policy.relax
    for end in range(len(relax) + 1):
        picker.pick(ranked, n, relax[:end])
        if len(picker.kept) >= n:
            break
    return Slate(picker.kept, [name for name in relax if name in picker.broken], chance, lifted)


def _organic(
    ranked: Sequence[int],
    n: int,
    most: int,
    rules: Rules,
    read: Collection[tuple[int, float]],
    promoted: Sequence[int],
) -> tuple[Picker, frozenset[int]]:
    """The best `n`, the last of them given up for promoted works until there are `most` of these."""
    picker = Picker(rules, read)
    picker.pick(ranked, n)
    lifts = min(most, n) - len(rules.promoted.intersection(picker.kept)) if promoted else 0
    if lifts <= 0:
        return picker, frozenset()
    shorter = Picker(rules, read)
    shorter.pick(ranked, n - lifts)
    before = set(shorter.kept)
    shorter.pick(promoted, len(shorter.kept) + lifts)
    lifted = frozenset(shorter.kept) - before
    shorter.pick(ranked, n)
    return shorter, lifted


def _explored(picker: Picker, ranked: Sequence[int], places: int, pool: int, seed: str) -> dict[int, float]:
    """Draw works for the last places; any of the pool keep the rules together, so each is as likely as the other."""
    before = len(picker.kept)
    wider = picker.copy()
    wider.pick(ranked, before + pool)
    found = wider.kept[before:]
    if len(found) < places:
        return {}
    drawn = random.Random(seed).sample(found, places)
    for index in drawn:
        picker.take(index)
    return dict.fromkeys(drawn, places / len(found))
