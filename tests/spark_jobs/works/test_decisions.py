"""A person's decisions: what is stored, what they ask of a clustering, and who wins when they disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql

from bookworks.adapters import postgres
from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.errors import TerminalError
from bookworks.settings import Settings
from spark_jobs.lake_to_warehouse import columns_ddl
from spark_jobs.works import decisions
from spark_jobs.works.decisions import TOGETHER, Decision, Groups, Kind, ReviewPair, constraints

AT = datetime(2026, 1, 1, tzinfo=UTC)
WORKS = {"w1": ["a", "b"], "w2": ["c", "d"], "w3": ["e"], "w4": ["f", "g", "h"]}


def decided(number: int, kind: Kind, left: str, right: str = "") -> Decision:
    """A decision about editions that are single letters."""
    return Decision(number, kind, tuple(left), tuple(right), (), "ada", "because", AT)


def asked(*parts: tuple[Kind, str, str]) -> decisions.Constraints:
    return constraints(decided(number, *part) for number, part in enumerate(parts, 1))


# What decisions ask of a clustering


def test_a_merge_and_an_answer_chain_into_one_group() -> None:
    found = asked(("merge", "ab", "c"), ("same", "c", "d"), ("split", "x", "yz"))
    assert found.together == [("a", "b", "c", "d")]
    assert found.apart == [(("x",), ("y", "z"))]


def test_a_split_takes_its_editions_out_of_an_earlier_merge_and_leaves_the_rest_merged() -> None:
    found = asked(("merge", "ab", "cde"), ("split", "de", "abc"))
    assert found.together == [("a", "b", "c"), ("d", "e")]
    assert found.apart == [(("d", "e"), ("a", "b", "c"))]


def test_what_a_later_different_does_not_name_stays_with_its_right_side() -> None:
    found = asked(("merge", "ab", "cd"), ("different", "a", "c"))
    assert found.together == [("b", "c", "d")]
    assert found.apart == [(("a",), ("c",))]


def test_a_merge_ends_an_earlier_split() -> None:
    found = asked(("split", "d", "abc"), ("merge", "d", "abc"))
    assert found.together == [("a", "b", "c", "d")]
    assert found.apart == []


def test_what_came_back_is_free_and_the_others_stay_out() -> None:
    found = asked(("split", "de", "abc"), ("same", "d", "a"))
    assert found.together == [("a", "d")]
    assert found.apart == [(("e",), ("a", "b", "c"))]


def test_a_later_different_beats_a_chain_and_a_later_chain_beats_a_different() -> None:
    cut = Groups.of(asked(("same", "a", "b"), ("same", "b", "c"), ("different", "a", "c")))
    assert cut.same("a", "c") is False
    assert cut.same("b", "c") is True  # the newer of the two links holds, the older gives way
    assert cut.same("a", "b") is False
    joined = Groups.of(asked(("different", "a", "c"), ("same", "a", "b"), ("same", "b", "c")))
    assert joined.same("a", "c") is True


def test_order_is_that_of_the_numbers_not_of_the_list() -> None:
    earlier, later = decided(1, "same", "a", "b"), decided(2, "different", "a", "b")
    assert constraints([later, earlier]) == constraints([earlier, later])
    assert Groups.of(constraints([later, earlier])).same("a", "b") is False


EDITIONS = "abcdef"


def of_kind(kind: Kind, chosen: str) -> tuple[Kind, str, str]:
    """A decision of the shape that the functions store."""
    pair = kind in decisions.ANSWERS
    middle = 1 if pair else len(chosen) // 2
    return kind, chosen[:middle], chosen[middle : 2 if pair else None]


some_editions = st.tuples(st.permutations(EDITIONS), st.integers(2, 4)).map(lambda drawn: "".join(drawn[0][: drawn[1]]))
some_decisions = st.lists(
    st.builds(of_kind, st.sampled_from(("merge", "split", "same", "different")), some_editions), max_size=12
)
often = hypothesis_settings(max_examples=500, deadline=None)


def closure(groups: Sequence[Sequence[str]]) -> dict[str, frozenset[str]]:
    """Who is with whom, by joining groups that overlap until none does: slow and plain."""
    found = [frozenset(edition) for edition in EDITIONS] + [frozenset(group) for group in groups]
    while overlap := next(((a, b) for a, b in combinations(found, 2) if a & b), None):
        found = [group for group in found if group not in overlap] + [overlap[0] | overlap[1]]
    return {edition: group for group in found for edition in group}


def pairs_of(part: tuple[Kind, str, str]) -> list[tuple[str, str]]:
    """The pairs of editions that a decision says something about."""
    kind, left, right = part
    return list(combinations(left + right, 2)) if kind in TOGETHER else list(product(left, right))


@often
@given(some_decisions)
def test_constraints_never_contradict_each_other(parts: list[tuple[Kind, str, str]]) -> None:
    found = asked(*parts)
    group_of = closure(found.together)
    for left, right in found.apart:
        assert left
        assert right
        assert not any(group_of[a] & group_of[b] for a, b in product(left, right))


@given(some_decisions.filter(bool))
def test_the_newest_decision_holds_in_full(parts: list[tuple[Kind, str, str]]) -> None:
    groups = Groups.of(asked(*parts))
    expected = parts[-1][0] in TOGETHER
    assert all(groups.same(a, b) is expected for a, b in pairs_of(parts[-1]))


@given(some_decisions, st.lists(st.integers(0, 2), min_size=len(EDITIONS), max_size=len(EDITIONS)))
def test_decisions_that_agree_all_hold_in_full(parts: list[tuple[Kind, str, str]], truth: list[int]) -> None:
    work = dict(zip(EDITIONS, truth, strict=True))
    agreeing = [p for p in parts if all((work[a] == work[b]) == (p[0] in TOGETHER) for a, b in pairs_of(p))]
    groups = Groups.of(asked(*agreeing))
    for part in agreeing:
        assert all(groups.same(a, b) is (part[0] in TOGETHER) for a, b in pairs_of(part))


@often
@given(some_decisions)
def test_groups_say_what_the_plain_closure_says(parts: list[tuple[Kind, str, str]]) -> None:
    found = asked(*parts)
    groups, group_of = Groups.of(found), closure(found.together)
    for a, b in combinations(EDITIONS, 2):
        crossed = ((left, right) for pair in found.apart for left, right in (pair, pair[::-1]))
        forbidden = any(group_of[a] & set(left) and group_of[b] & set(right) for left, right in crossed)
        assert groups.same(a, b) is (True if b in group_of[a] else False if forbidden else None)


def test_ten_thousand_answers_take_no_long_time() -> None:
    many = [
        Decision(n, "same" if n % 3 else "different", (f"e{n}",), (f"e{n + n % 3}x",), (), "ada", "", AT)
        for n in range(10_000)
    ]
    many.append(Decision(10_000, "merge", tuple(f"e{n}" for n in range(0, 10_000, 7)), ("e1",), (), "ada", "", AT))
    assert len(constraints(many).apart) == 3_334


# What is stored


@pytest.fixture
def warehouse(stack: Any) -> Settings:
    """A warehouse of its own with a few works and no decisions."""
    settings: Settings = stack.need("postgres").model_copy(update={"warehouse_db": "test_decisions"})
    postgres.ensure_databases(settings)
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        db.execute("drop schema if exists identity cascade; drop schema if exists raw cascade; create schema raw")
        ddl = columns_ddl(CLEAN_SCHEMAS["edition_works"])
        db.execute(sql.SQL("create table raw.edition_works ({})").format(ddl))
        rows = [(edition, work) for work, editions in WORKS.items() for edition in editions]
        db.cursor().executemany("insert into raw.edition_works values (%s, %s, 1, now())", rows)
    return settings


def pair(left: str, right: str, probability: float = 0.5, readers: int = 10) -> ReviewPair:
    shown = {"title": f"Title [{left}]", "year": 1999, "author": None}
    return ReviewPair(left, right, probability, readers, shown, {"title": "日本 \\ \t"})


def waiting(settings: Settings, n: int = 10) -> list[str]:
    return [one.left_edition + one.right_edition for one in decisions.queue(settings, n)]


def answered(settings: Settings) -> set[str]:
    with postgres.connect(settings, settings.warehouse_db) as db:
        rows = db.execute("select left_edition || right_edition from identity.review_pairs where answered")
        return {row[0] for row in rows}


@pytest.mark.integration
def test_a_merge_is_stored_with_the_editions_of_its_works(warehouse: Settings) -> None:
    stored = decisions.merge(warehouse, ["w2", "w1", "w3", "w1"], "ada", " one book ")
    assert (stored.left_editions, stored.right_editions) == (("c", "d"), ("a", "b", "e"))
    assert (stored.works, stored.who, stored.why) == (("w2", "w1", "w3"), "ada", "one book")
    assert decisions.standing(warehouse) == [stored]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("works", "words"),
    [(["w1"], "two works"), (["w1", "w1"], "two works"), ([], "two works"), (["w1", "nope"], "No such work.*nope")],
)
def test_a_merge_that_makes_no_sense_is_refused(warehouse: Settings, works: list[str], words: str) -> None:
    with pytest.raises(TerminalError, match=words):
        decisions.merge(warehouse, works, "ada", "why")
    assert decisions.standing(warehouse) == []


@pytest.mark.integration
def test_works_that_are_merged_already_are_refused_until_one_splits_them(warehouse: Settings) -> None:
    decisions.merge(warehouse, ["w1", "w2"], "ada", "why")
    decisions.merge(warehouse, ["w2", "w3"], "ada", "why")
    with pytest.raises(TerminalError, match=r"merged already.*w1, w3"):
        decisions.merge(warehouse, ["w1", "w3"], "bob", "why")
    decisions.answer(warehouse, "a", "c", False, "bob")
    decisions.merge(warehouse, ["w1", "w2"], "ada", "again")


@pytest.mark.integration
def test_a_split_is_stored_with_who_leaves_and_who_stays(warehouse: Settings) -> None:
    stored = decisions.split(warehouse, "w4", ["h", "f", "h"], "ada", "another book")
    assert (stored.kind, stored.left_editions, stored.right_editions) == ("split", ("f", "h"), ("g",))
    assert constraints(decisions.standing(warehouse)).apart == [(("f", "h"), ("g",))]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("work", "editions", "words"),
    [
        ("w4", [], "0 of its 3"),
        ("w4", ["f", "g", "h"], "3 of its 3"),
        ("w3", ["e"], "1 of its 1"),
        ("w4", ["f", "a"], "not in the work w4.*Received: a\\."),
        ("nope", ["f"], "No such work"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(
    warehouse: Settings, work: str, editions: list[str], words: str
) -> None:
    with pytest.raises(TerminalError, match=words):
        decisions.split(warehouse, work, editions, "ada", "why")
    assert decisions.standing(warehouse) == []


@pytest.mark.integration
def test_a_decision_without_a_name_or_a_reason_is_refused(warehouse: Settings) -> None:
    with pytest.raises(TerminalError, match="says who"):
        decisions.merge(warehouse, ["w1", "w2"], " ", "why")
    with pytest.raises(TerminalError, match="says why"):
        decisions.merge(warehouse, ["w1", "w2"], "ada", "")


@pytest.mark.integration
def test_without_a_loaded_catalogue_the_error_says_what_to_do(warehouse: Settings) -> None:
    with postgres.connect(warehouse, warehouse.warehouse_db, autocommit=True) as db:
        db.execute("drop table raw.edition_works")
    with pytest.raises(TerminalError, match=r"no works yet.*DAG catalogue"):
        decisions.merge(warehouse, ["w1", "w2"], "ada", "why")


@pytest.mark.integration
def test_an_undo_restores_exactly_what_was(warehouse: Settings) -> None:
    decisions.merge(warehouse, ["w1", "w4"], "ada", "why")
    decisions.answer(warehouse, "c", "e", True, "ada")
    before = constraints(decisions.standing(warehouse)), decisions.labels(warehouse)
    cut = decisions.split(warehouse, "w4", ["f"], "ada", "why")
    assert constraints(decisions.standing(warehouse)) != before[0]
    undone = decisions.undo(warehouse, cut.decision_id, "bob")
    assert undone.undone_by == "bob"
    assert undone.undone_at is not None
    assert (constraints(decisions.standing(warehouse)), decisions.labels(warehouse)) == before
    assert [one.undone_by for one in decisions.history(warehouse)] == [None, None, "bob"]


@pytest.mark.integration
def test_an_undo_of_what_is_unknown_or_undone_is_refused(warehouse: Settings) -> None:
    stored = decisions.merge(warehouse, ["w1", "w2"], "ada", "why")
    decisions.undo(warehouse, stored.decision_id, "ada")
    with pytest.raises(TerminalError, match=r"undone already.*by ada"):
        decisions.undo(warehouse, stored.decision_id, "bob")
    assert decisions.history(warehouse)[0].undone_by == "ada"
    for unknown in (0, -1, 10**30):
        with pytest.raises(TerminalError, match="no such decision"):
            decisions.undo(warehouse, unknown, "bob")


@pytest.mark.integration
def test_answers_become_labels_and_a_beaten_one_does_not(warehouse: Settings) -> None:
    decisions.answer(warehouse, "b", "a", True, "ada")
    decisions.answer(warehouse, "c", "d", True, "ada")
    decisions.answer(warehouse, "c", "d", False, "bob")
    gone = decisions.answer(warehouse, "e", "a", False, "ada")
    decisions.answer(warehouse, "f", "g", True, "ada")
    decisions.split(warehouse, "w4", ["f"], "bob", "why")
    assert decisions.labels(warehouse) == [("a", "b", True), ("c", "d", False), ("a", "e", False)]
    decisions.undo(warehouse, gone.decision_id, "ada")
    assert ("a", "e", False) not in decisions.labels(warehouse)


@pytest.mark.integration
def test_an_answer_about_no_pair_or_an_unknown_edition_is_refused(warehouse: Settings) -> None:
    with pytest.raises(TerminalError, match="two editions"):
        decisions.answer(warehouse, "a", "a", True, "ada")
    with pytest.raises(TerminalError, match=r"No such edition.*nope"):
        decisions.answer(warehouse, "a", "nope", True, "ada")
    decisions.replace_queue(warehouse, [pair("new", "newer")])  # not loaded yet, but asked about
    decisions.answer(warehouse, "newer", "new", True, "ada")


@pytest.mark.integration
def test_the_queue_shows_the_most_valuable_first(warehouse: Settings) -> None:
    rows = [pair("a", "c", 0.9), pair("a", "d", 0.45), pair("a", "e", 0.6), pair("b", "c", 0.99, 11)]
    assert decisions.replace_queue(warehouse, iter(rows)) == 4
    assert waiting(warehouse) == ["bc", "ad", "ae", "ac"]
    assert waiting(warehouse, 2) == ["bc", "ad"]


@pytest.mark.integration
def test_a_pair_is_kept_as_it_came_with_the_smaller_edition_to_the_left(warehouse: Settings) -> None:
    came = pair("z", "a", 0.25, 3)
    assert decisions.replace_queue(warehouse, [came, pair("a", "z", 0.25, 2)]) == 1
    assert decisions.queue(warehouse, 5) == [ReviewPair("a", "z", 0.25, 3, came.right, came.left)]


@pytest.mark.integration
def test_a_new_queue_replaces_what_was_not_answered_and_never_asks_again(warehouse: Settings) -> None:
    decisions.replace_queue(warehouse, [pair("a", "c"), pair("a", "e"), pair("b", "e")])
    decisions.answer(warehouse, "a", "c", True, "ada")
    assert waiting(warehouse) == ["ae", "be"]
    assert decisions.replace_queue(warehouse, [pair("c", "a"), pair("a", "e"), pair("f", "g")]) == 2
    assert waiting(warehouse) == ["ae", "fg"]


@pytest.mark.integration
def test_a_pair_that_decisions_answer_through_others_is_not_shown(warehouse: Settings) -> None:
    decisions.replace_queue(warehouse, [pair("a", "c"), pair("c", "e"), pair("a", "e"), pair("f", "g"), pair("b", "e")])
    decisions.answer(warehouse, "a", "c", True, "ada")
    decisions.answer(warehouse, "c", "e", False, "ada")
    decisions.split(warehouse, "w4", ["f"], "ada", "why")
    assert waiting(warehouse) == ["be"]
    assert decisions.is_answered(warehouse, pair("a", "e"))
    assert not decisions.is_answered(warehouse, pair("b", "e"))
    assert decisions.replace_queue(warehouse, [pair("a", "e"), pair("b", "e"), pair("f", "g")]) == 1


@pytest.mark.integration
def test_an_undone_answer_is_asked_again_unless_another_stands(warehouse: Settings) -> None:
    decisions.replace_queue(warehouse, [pair("a", "c")])
    first = decisions.answer(warehouse, "a", "c", True, "ada")
    second = decisions.answer(warehouse, "a", "c", False, "bob")
    decisions.undo(warehouse, second.decision_id, "bob")
    assert answered(warehouse) == {"ac"}
    assert waiting(warehouse) == []
    decisions.undo(warehouse, first.decision_id, "ada")
    assert answered(warehouse) == set()
    assert waiting(warehouse) == ["ac"]


@pytest.mark.integration
def test_a_queue_that_fails_half_way_changes_nothing(warehouse: Settings) -> None:
    decisions.replace_queue(warehouse, [pair("a", "c")])

    def breaks() -> Iterator[ReviewPair]:
        yield pair("a", "e")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        decisions.replace_queue(warehouse, breaks())
    assert waiting(warehouse) == ["ac"]


@pytest.mark.integration
def test_two_may_make_the_tables_at_once(warehouse: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: decisions.standing(warehouse), range(8))) == [[]] * 8
