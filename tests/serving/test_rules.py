"""The slate against hand-worked cases, and against its promises for any catalogue, reader and rules."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bookworks.models.work_facts import WorkFacts
from serving.catalogue import with_twins
from serving.policy import Exploration, Freshness, Policy, Promoted, RecentlyShown
from serving.rules import SERIES_IN_ORDER, Limit, Picker, Rules, Volumes, assemble, reordered

NONE = [None] * 6
DEFAULT = Policy()
UNHURRIED = settings(deadline=None)
RELAX = ("series", "author")


def rules(twins=NONE, relax=RELAX, volumes=None, promoted=(), exploration=None, share=0.0, **limits):
    """Rules with limits as `author=(2, keys)`."""
    policy = Policy(relax=relax, promoted=Promoted(share=share), exploration=exploration or Exploration())
    made = tuple(Limit(name, most, keys) for name, (most, keys) in limits.items())
    return Rules(policy, twins, made, volumes, (), frozenset(promoted))


def facts(series, places):
    """Works of which nothing else is known; series 0 is none."""
    nothing = WorkFacts.nothing(len(series))
    group = dict(nothing.group) | {"series_id": np.array(series, dtype=np.int64)}
    return WorkFacts(nothing.readers, nothing.year, np.array(places, dtype=np.float32), group, nothing.expected)


def test_limits_hold_back_an_author_and_a_series():
    authors = ["a", "a", "a", "b", "b", None]
    series = [None, None, None, "s", "s", None]
    slate = assemble(range(6), 4, rules(author=(2, authors), series=(1, series)))
    assert (slate.works, slate.relaxed) == ([0, 1, 3, 5], [])


def test_what_a_limit_held_back_fills_a_slate_that_is_too_short():
    slate = assemble(range(3), 3, rules(author=(1, ["a"] * 3)))
    assert (slate.works, slate.relaxed) == ([0, 1, 2], ["author"])


def test_rules_are_broken_in_the_declared_order_and_no_more_than_is_needed():
    """Works 0 to 2 have one author, 3 and 4 one series of two authors: with one of each there are 0 and 3."""
    authors, series = ["a", "a", "a", "b", "c"], [None, None, None, "s", "s"]
    keys = {"author": (1, authors), "series": (1, series)}
    first = assemble(range(5), 3, rules(**keys))
    assert (first.works, first.relaxed) == ([0, 3, 4], ["series"])
    second = assemble(range(5), 3, rules(relax=("author", "series"), **keys))
    assert (second.works, second.relaxed) == ([0, 3, 1], ["author"])
    both = assemble(range(5), 5, rules(**keys))
    assert (both.works, both.relaxed) == ([0, 3, 4, 1, 2], ["series", "author"])
    never = assemble(range(5), 5, rules(relax=("author",), **keys))
    assert (never.works, never.relaxed) == ([0, 3, 1, 2], ["author"])


def test_a_subject_counts_in_every_work_that_has_it():
    subjects = [["x", "y", "x"], ["y"], ["x"], None, []]
    slate = assemble(range(5), 3, rules(relax=(), subject=(1, subjects)))
    assert slate.works == [0, 3, 4]


def test_no_limit_shows_the_best():
    assert assemble(range(3), 2, rules()).works == [0, 1]


def test_two_of_the_same_book_are_never_shown_even_to_fill():
    assert assemble(range(3), 3, rules(twins=["x", "x", "y"], author=(1, ["a"] * 3))).works == [0, 2]


def test_twins_of_what_is_banned_are_banned():
    assert with_twins({0}, ["x", "x", None], {"x": [0, 1]}) == {0, 1}
    assert with_twins({2}, ["x", "x", None], {"x": [0, 1]}) == {2}


def test_a_volume_waits_for_all_before_it_that_the_catalogue_has():
    """Works 0 to 4 are volumes 1, 2, 4, 4.5 and 0.5 of series 1; volume 3 is not there; 5 is in no series."""
    volumes = Volumes(facts([1, 1, 1, 1, 1, 0], [1, 2, 4, 4.5, 0.5, np.nan]))
    nothing, first, both = (volumes.read(works) for works in ([], [0], [0, 1]))
    assert [volumes.missing(i, nothing) for i in range(6)] == [[], [1], [1, 2], [1, 2, 4], [], []]
    assert [volumes.missing(i, first) for i in (1, 2)] == [[], [2]]
    assert volumes.missing(2, both) == []
    held = assemble(range(6), 6, rules(volumes=volumes), read=first)
    assert held.works == [0, 1, 4, 5]
    relaxed = assemble(range(6), 6, rules(relax=(SERIES_IN_ORDER,), volumes=volumes), read=first)
    assert (relaxed.works, relaxed.relaxed) == ([0, 1, 4, 5, 2, 3], [SERIES_IN_ORDER])


def shifted(recently=DEFAULT.recently_shown, freshness=DEFAULT.freshness, shown=None, years=NONE, hours=0.0):
    at = 1_000_000_000.0
    return reordered(
        list(range(6)),
        recently,
        freshness,
        shown=shown or {},
        years=np.array(years, dtype=np.float32),
        now_ms=at + hours * 3_600_000,
        this_year=2026,
    )


def test_a_book_just_shown_stands_back_and_recovers():
    recently, shown = RecentlyShown(places=4, half_life_hours=24.0), {0: 1_000_000_000.0}
    assert shifted(recently, shown=shown) == [1, 2, 3, 0, 4, 5], "work 0 stands at 4, where the other was before"
    assert shifted(recently, shown=shown, hours=24) == [1, 0, 2, 3, 4, 5]
    assert shifted(recently, shown=shown, hours=24 * 4) == list(range(6))
    assert shifted(shown=shown) == list(range(6))


def test_a_new_book_stands_ahead_by_its_age():
    """Work 5 of this year moves 3 places ahead, 4 of two years before 1.5, 3 of 2016 next to nothing."""
    years = [None, None, None, 2016, 2024, 2026]
    assert shifted(freshness=Freshness(places=3, half_life_years=2.0), years=years) == [0, 1, 2, 5, 4, 3]


def test_promoted_works_come_last_and_are_no_more_than_their_share():
    ruled = rules(promoted=[3, 4, 5], share=0.5)
    slate = assemble(range(6), 4, ruled, promoted=[5, 4, 3])
    assert (slate.works, slate.lifted) == ([0, 1, 2, 5], {5}), "work 3 is there by its own merit and counts"
    assert assemble(range(6), 4, ruled, promoted=[]).lifted == set()
    assert assemble(range(6), 4, rules(promoted=[5], share=0.2), promoted=[5]).works == [0, 1, 2, 3]
    limited = rules(promoted=[4, 5], share=0.5, author=(1, ["a", "b", "c", "d", "a", "e"]))
    assert assemble(range(6), 4, limited, promoted=[4, 5]).works == [0, 1, 5, 2], "the promoted keep the rules too"


def test_each_of_the_pool_is_drawn_as_often_as_its_propensity_says():
    ruled = rules(exploration=Exploration(share=0.5, pool=3), twins=[None] * 8)
    drawn = Counter()
    for seed in range(3000):
        slate = assemble(range(8), 4, ruled, seed=str(seed))
        assert slate.works[:2] == [0, 1]
        assert slate.chance == dict.fromkeys(slate.works[2:], 2 / 3)
        drawn.update(slate.works[2:])
    assert set(drawn) == {2, 3, 4}
    assert all(abs(count / 3000 - 2 / 3) < 0.04 for count in drawn.values())
    assert assemble(range(8), 4, ruled, seed="7") == assemble(range(8), 4, ruled, seed="7")


def test_nothing_is_drawn_where_the_rules_leave_too_few():
    ruled = rules(exploration=Exploration(share=0.5, pool=3), author=(1, ["a"] * 6))
    slate = assemble(range(6), 4, ruled, seed="7")
    assert (slate.works, slate.chance, slate.relaxed) == ([0, 1, 2, 3], {}, ["author"])


SOFT = ("subject", "publisher", "series", "author", SERIES_IN_ORDER)


@dataclass
class World:
    ruled: Rules
    ranked: list
    n: int
    read: set
    promoted: list
    seed: str


@st.composite
def worlds(draw):
    size = draw(st.integers(1, 25))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))

    limits = tuple(
        Limit(name, most, keys)
        for name, keys in (
            ("author", column(["a", "b", "c", None])),
            ("series", column(["s", "t", None])),
            ("publisher", column(["p", "q", None])),
            ("subject", column([["x"], ["x", "y"], ["y", "z"], [], None])),
        )
        if (most := draw(st.integers(0, 3)))
    )
    volumes = Volumes(facts(column([0, 1, 2]), column([np.nan, 1.0, 2.0, 3.0, 2.5])))
    hidden = set(draw(st.lists(st.integers(0, size - 1), max_size=10)))
    order = draw(st.permutations(range(size)))
    ranked = [i for i in order if i not in hidden]
    listed = draw(st.lists(st.integers(0, size - 1), unique=True, max_size=4))
    share, promoted_share = draw(st.sampled_from([(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.5, 0.5)]))
    policy = Policy(
        relax=tuple(draw(st.permutations(SOFT)))[: draw(st.integers(0, 5))],
        exploration=Exploration(share=share, pool=draw(st.integers(1, 10))),
        promoted=Promoted(share=promoted_share),
    )
    in_order = draw(st.booleans())
    twins = column(["one", "two", None, None, None])
    ruled = Rules(policy, twins, limits, volumes if in_order else None, (), frozenset(listed))
    read = volumes.read(i for i in hidden if draw(st.booleans()))
    promoted = [i for i in ranked if i in listed]
    return World(ruled, ranked, draw(st.integers(1, 12)), read, promoted, draw(st.text(max_size=3)))


def broken_by(world, works):
    """Soft rules that these works break together, looked at all at once."""
    names = {
        limit.name
        for limit in world.ruled.limits
        if any(count > limit.most for count in Counter(key for i in works for key in limit.of(i)).values())
    }
    volumes = world.ruled.volumes
    if volumes is not None and any(volumes.missing(i, world.read) for i in works):
        names.add(SERIES_IN_ORDER)
    return names


@UNHURRIED
@given(worlds())
def test_promises_of_every_slate(world):
    slate = assemble(world.ranked, world.n, world.ruled, read=world.read, promoted=world.promoted, seed=world.seed)
    works, relax = slate.works, world.ruled.policy.relax
    assert set(works) <= set(world.ranked), "what is hidden is never shown"
    assert len(works) == len(set(works)) <= world.n
    twins = [world.ruled.twins[i] for i in works if world.ruled.twins[i] is not None]
    assert len(twins) == len(set(twins))
    assert broken_by(world, works) == set(slate.relaxed) <= set(relax)
    assert slate.relaxed == [name for name in relax if name in slate.relaxed]
    again = assemble(world.ranked, world.n, world.ruled, read=world.read, promoted=world.promoted, seed=world.seed)
    assert again == slate
    assert set(slate.chance) <= set(works)
    assert all(0 < chance <= 1 for chance in slate.chance.values())
    most = int(world.n * world.ruled.policy.promoted.share)
    assert not slate.lifted or len(slate.lifted) <= most


@UNHURRIED
@given(worlds())
def test_a_slate_is_full_when_enough_is_left_and_a_rule_is_broken_for_want_alone(world):
    slate = assemble(world.ranked, world.n, world.ruled, read=world.read, promoted=world.promoted, seed=world.seed)
    relax, short = world.ruled.policy.relax, len(slate.works) < world.n
    distinct = {world.ruled.twins[i] or f"work {i}" for i in world.ranked}
    named = {limit.name for limit in world.ruled.limits} | ({SERIES_IN_ORDER} if world.ruled.volumes else set())
    if named <= set(relax):
        assert len(slate.works) == min(world.n, len(distinct))
    if short:  # nothing more could be shown without breaking a rule that is never broken
        picker = Picker(world.ruled, world.read, slate.works)
        rest = [i for i in world.ranked if not picker.repeats(i)]
        assert all(set(picker.breaks(i)) - set(relax) for i in rest)
    if slate.relaxed:  # with one rule less broken it had been shorter
        allowed = relax[: relax.index(slate.relaxed[-1])]
        shorter = Rules(
            world.ruled.policy.model_copy(update={"relax": allowed}), world.ruled.twins, world.ruled.limits,
            world.ruled.volumes, (), world.ruled.promoted,
        )  # fmt: skip
        less = assemble(world.ranked, world.n, shorter, read=world.read, promoted=world.promoted, seed=world.seed)
        assert len(less.works) < world.n


@pytest.mark.parametrize("n", [1, 10])
def test_without_rules_the_slate_is_the_ranking(n):
    assert assemble(range(20), n, rules(twins=[None] * 20)).works == list(range(n))
