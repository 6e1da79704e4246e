"""Stable ids: many small catalogues go through the same runs together, told apart by the start of their edition ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bookworks.errors import ContractError, TerminalError
from spark_jobs.lake import spark_schema
from spark_jobs.works import ids
from spark_jobs.works.ids import WORK_HISTORY, current_ids, stable_ids

AT = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = 5
WHY_FROM_A_PERSON = 2  # this run's reason is a column
Parts = set[frozenset[str]]
Works = dict[str, str]  # edition_id to work_id
Change = tuple[str, str, str, tuple[str, ...]]  # kind, old, new, editions

# One catalogue each: its clusters run by run, an edition is a letter. The last is repeated up to STEPS.
KINDS = ("steps", "merges at once", "splits at once", "again", "free")
STORIES = {
    "majority": ["abcd", "a|bcd"],
    "tie of a split": ["abcd", "ab|cd"],
    "rejoined": ["abcde", "abc|de", "c|de", "cde"],
    "rejoined by halves": ["abcdefgh", "abcd|efg|h", "abcd|efgh", "abcdefgh"],
    "bigger wins": ["a|bc", "abc"],
    "tie of a merge": ["ab|cd", "abcd"],
    "undone": ["abc|de", "abcde", "abc|de"],
    "undone after growth": ["abc|de", "abcde", "abcdefg", "abc|defg"],
    "all undone at once": ["abcd|ef|g", "abcd|efg", "abcdefg", "abcd|ef|g"],
    "all undone, one grown": [
        "abcdefghij|klm|no|pqrs",
        "abcdefghij|klmno|pqrs",
        "abcdefghij|klmnopqrs",
        "abcdefghijklmnopqrsuv",
        "abcdefghij|klm|no|pqrsuv",
    ],
    "moved before it was alone": ["abcd|efg|hijk", "abcdefg|hijk", "abcdfg|ehijk", "abc|d|e|hijk"],
    "first undone first": ["abcd|ef|g", "abcd|efg", "abcdefg", "abcdef|g"],
    "half undone": ["abcd|ef|g", "abcd|efg", "abcdefg", "abcdg|ef"],
    "exactly what was": ["abcde|fghi", "abcdefghi", "abcdehi|fg", "abcde|fghi"],
    "exactly what was long ago": ["cde|ab", "abcde", "bcde|a", "abcde", "ab|c"],
    "retired twice": ["e|fg|hij", "efg|hij", "e|hij", "ehij", "e|hij"],
    "tie of own editions": ["ab|c", "abc", "a|bc"],
    "torn apart": ["abc|def", "abcde|f", "abc|def"],
    "scrambled": ["abc|def", "ad|be|cf", "abc|def"],
    "moved": ["abc|def", "ab|cdef"],
    "whole and part": ["a|b", "a|b", "ab"],  # with a history from before the second run
    "new editions": ["ab", "abc|d"],
    "a living work is not given up": ["ijklmn|abc|de", "abcijklmn|de", "ijklmn|abcde"],
    "a used id is not given again": ["ab|c", "b|c", "a|b|c"],
    "back alone": ["ab|c", "abc", "ab", "ab|c"],
    "away, all known": ["ab|cde", "b|cde", "bcde", "abcde"],
    "split again": ["abcd", "a|bcd", "abcd", "ab|cd"],
}


@dataclass
class Run:
    """One run over all catalogues."""

    parts: dict[str, Parts]
    works: Works
    rows: list[tuple[object, ...]]

    def of(self, case: str) -> dict[str, str]:
        """The work of each edition of one catalogue, under its short name."""
        return {e.partition("/")[2]: work for e, work in self.works.items() if e.startswith(f"{case}/")}

    def changes(self, case: str) -> set[Change]:
        """New rows of the history of one catalogue."""
        rows = [
            (*row[:3], tuple(e.partition("/")[2] for e in row[6]))
            for row in self.rows
            if row[6][0].startswith(f"{case}/")
        ]
        return {(kind, old, new, editions) for old, new, kind, editions in rows}


@dataclass
class Line:
    """Runs one after the other, each with what the ones before have left."""

    spark: SparkSession
    runs: list[Run] = field(default_factory=list)

    def clusters(self, parts: dict[str, Parts], shuffled: bool) -> DataFrame:
        rows = [(e, min(part)) for case in sorted(parts) for part in parts[case] for e in part]
        Random(len(rows)).shuffle(rows) if shuffled else rows.sort()
        frame = self.spark.createDataFrame(rows, "edition_id string, cluster string")
        return frame.repartition(3, "edition_id") if shuffled else frame.coalesce(1)

    def history(self, until: int) -> DataFrame | None:
        rows = [row for run in self.runs[:until] for row in run.rows]
        if until >= 2:
            a, b = (name(letter, "whole and part") for letter in "ab")
            rows += [(a, b, "split", AT - timedelta(2), "", None, ["whole and part/b"])]
            rows += [(b, a, "restored", AT - timedelta(1), "", None, ["whole and part/a"])]
        return self.spark.createDataFrame(rows, spark_schema(WORK_HISTORY)) if rows else None

    def before(self, n: int, shuffled: bool) -> DataFrame:
        """Works of the run before n; for catalogues called away also the last ones of editions that are gone."""
        known = {e: w for run in self.runs[:n] for e, w in run.works.items() if e.startswith("away")}
        rows = sorted((known | self.runs[n - 1].works).items(), reverse=shuffled)
        return self.spark.createDataFrame(rows, "edition_id string, work_id string")

    def run(self, n: int, parts: dict[str, Parts], shuffled: bool = False) -> Run:
        """Run number n, with what its predecessors have left."""
        why = F.concat(F.lit("a person, of "), "old_work_id") if n == WHY_FROM_A_PERSON else "clustering"
        before = self.before(n, shuffled) if n else None
        works, new = stable_ids(self.clusters(parts, shuffled), before, self.history(n), AT + timedelta(days=n), why)
        pairs = [(row.edition_id, row.work_id) for row in works.collect()]
        assert len(pairs) == len(dict(pairs)) == sum(len(part) for case in parts.values() for part in case)
        return Run(parts, dict(pairs), sorted(map(tuple, new.collect()), key=str))


def story_parts(case: str, text: str) -> Parts:
    return {frozenset(f"{case}/{letter}" for letter in part) for part in text.split("|")}


def split_up(rng: Random, editions: list[str], n: int) -> Parts:
    places: dict[int, set[str]] = {}
    for edition in editions:
        places.setdefault(rng.randrange(n), set()).add(edition)
    return {frozenset(place) for place in places.values()}


def merged(rng: Random, parts: Parts) -> Parts:
    todo, result = rng.sample(sorted(parts, key=sorted), len(parts)), set()
    while todo:
        result.add(frozenset().union(*(todo.pop() for _ in range(min(len(todo), rng.choice([1, 1, 2, 3]))))))
    return result


def split(rng: Random, parts: Parts) -> Parts:
    return set().union(*(split_up(rng, sorted(part), rng.choice([1, 1, 2, 3])) for part in sorted(parts, key=sorted)))


def changed(rng: Random, parts: Parts) -> Parts:
    """Some parts merged, others split."""
    some = {part for part in sorted(parts, key=sorted) if rng.random() < 0.5}
    return merged(rng, some) | split(rng, parts - some)


def random_case(case: str, seed: int) -> list[Parts]:
    """Clusters run by run: there and back step by step, at once, or anything with editions that come and go."""
    rng = Random(seed)
    editions = [f"{case}/{letter}" for letter in "abcdefghi"[: rng.randint(3, 9)]]
    first = split_up(rng, editions, rng.randint(1, 5))
    change = {"merges": merged, "splits": split}.get(case.partition(" ")[0], changed)
    second = change(rng, first)
    third = change(rng, second)
    if case.startswith("steps"):
        return [first, second, third, second, first]
    if case.startswith(("merges", "splits")):
        return [first, second, third, first, first]
    if case.startswith("again"):
        return [first, second, first, second, first]
    free = [
        split_up(rng, rng.sample(editions, rng.randint(1, len(editions))), rng.randint(1, 5)) for _ in range(STEPS - 1)
    ]
    return [*free, free[-1]]


@pytest.fixture(scope="module")
def line(spark: SparkSession) -> Line:
    cases = {case: [story_parts(case, text) for text in texts] for case, texts in STORIES.items()}
    cases = {case: [*steps, *[steps[-1]] * (STEPS - len(steps))] for case, steps in cases.items()}
    names = [f"{kind} {n}" for kind in KINDS for n in range(100)]
    cases |= {case: random_case(case, seed) for seed, case in enumerate(names)}
    made = Line(spark)
    for n in range(STEPS):
        made.runs.append(made.run(n, {case: steps[n] for case, steps in cases.items()}))
    return made


def name(edition: str, case: str, attempt: int = 0) -> str:
    text = f"{case}/{edition}" + (f"\0#{attempt}" if attempt else "")
    return "w" + hashlib.sha256(text.encode()).hexdigest()[:15]


def story(line: Line, case: str) -> list[dict[str, str]]:
    """For each run of a story: cluster to work id."""
    told = []
    for run, text in zip(line.runs, STORIES[case], strict=False):
        works = run.of(case)
        told.append({part: works[part[0]] for part in text.split("|")})
    return told


def test_the_first_run_names_a_work_after_its_smallest_edition(line: Line) -> None:
    assert story(line, "bigger wins")[0] == {part: name(part[0], "bigger wins") for part in ("a", "bc")}
    assert line.runs[0].rows == []


@pytest.mark.parametrize(("case", "part"), [("majority", "bcd"), ("tie of a split", "ab")])
def test_of_a_split_work_the_larger_part_keeps_the_id(line: Line, case: str, part: str) -> None:
    first, second = story(line, case)
    (old,) = first.values()
    (other,) = set(second) - {part}
    assert second == {part: old, other: name(other[0], case, 1 if other == "a" else 0)}
    assert line.runs[1].changes(case) == {("split", old, second[other], tuple(other))}


def test_of_merged_works_the_larger_one_keeps_its_id(line: Line) -> None:
    first, second = story(line, "bigger wins")
    assert second["abc"] == first["bc"]
    assert line.runs[1].changes("bigger wins") == {("merge", first["a"], first["bc"], ("a",))}
    first, second = story(line, "tie of a merge")
    assert second["abcd"] == min(first.values())


@pytest.mark.parametrize("case", ["undone", "all undone at once", "exactly what was", "torn apart", "scrambled"])
def test_an_undo_restores_exactly_what_was(line: Line, case: str) -> None:
    told = story(line, case)
    assert told[-1] == told[0]
    assert told[1] != told[0]
    assert "restored" in {kind for kind, *_ in line.runs[len(told) - 1].changes(case)}


def test_a_restored_id_is_a_row_of_the_history(line: Line) -> None:
    first, merged, last = story(line, "undone")
    assert line.runs[1].changes("undone") == {("merge", first["de"], first["abc"], tuple("de"))}
    assert line.runs[2].changes("undone") == {("restored", merged["abcde"], last["de"], tuple("de"))}


def test_an_undo_finds_both_works_though_one_has_grown(line: Line) -> None:
    told = story(line, "undone after growth")
    assert told[3] == {"abc": told[0]["abc"], "defg": told[0]["de"]}


def test_what_a_retired_id_once_had_is_left_to_it(line: Line) -> None:
    told = story(line, "exactly what was long ago")
    assert told[4] == {"ab": told[0]["ab"], "c": told[0]["cde"]}
    told = story(line, "retired twice")
    assert told[4] == told[2] == {"e": told[0]["fg"], "hij": told[0]["hij"]}


def test_of_equal_parts_the_one_with_more_editions_keeps_the_id(line: Line) -> None:
    told = story(line, "tie of own editions")
    assert told[2] == {"a": name("a", "tie of own editions", 1), "bc": told[0]["ab"]}


def test_several_undos_at_once_find_each_work_though_one_has_grown(line: Line) -> None:
    told = story(line, "all undone, one grown")
    assert list(told[4].values()) == list(told[0].values())


def test_an_edition_that_has_moved_on_no_longer_speaks_for_the_retired_id_it_had(line: Line) -> None:
    case = "moved before it was alone"
    told = story(line, case)
    assert told[3]["e"] == name("e", case, 1)
    assert ("split", told[0]["hijk"], told[3]["e"], ("e",)) in line.runs[3].changes(case)


def test_the_first_of_two_merges_is_undone_and_the_second_stays(line: Line) -> None:
    told = story(line, "first undone first")
    assert told[3] == {"abcdef": told[0]["abcd"], "g": told[0]["g"]}
    assert line.runs[3].changes("first undone first") == {("restored", told[0]["abcd"], told[0]["g"], ("g",))}


def test_what_was_merged_into_a_restored_work_but_stays_behind_leads_to_where_it_is(line: Line) -> None:
    told = story(line, "half undone")
    assert told[3] == {"abcdg": told[0]["abcd"], "ef": told[0]["ef"]}
    assert ("merge", told[0]["g"], told[0]["abcd"], ("g",)) in line.runs[3].changes("half undone")


def test_of_equal_votes_those_of_editions_that_were_split_off_count_more(line: Line) -> None:
    told = story(line, "whole and part")
    assert told[2] == {"ab": told[0]["a"]}
    assert told[0]["b"] < told[0]["a"]  # else the smallest id would have won anyway


@pytest.mark.parametrize("case", ["rejoined", "rejoined by halves"])
def test_parts_that_come_together_again_get_the_id_of_the_whole(line: Line, case: str) -> None:
    told = story(line, case)
    (whole,) = told[0].values()
    assert set(told[-1].values()) == {whole}
    assert {(kind, new) for kind, _, new, _ in line.runs[len(told) - 1].changes(case)} == {("merge", whole)}


def test_new_editions_and_moved_ones_leave_no_row(line: Line) -> None:
    first, second = story(line, "new editions")
    assert second == {"abc": first["ab"], "d": name("d", "new editions")}
    first, second = story(line, "moved")
    assert second == {"ab": first["abc"], "cdef": first["def"]}
    assert line.runs[1].changes("new editions") == line.runs[1].changes("moved") == set()


def test_a_retired_id_does_not_push_out_a_living_one(line: Line) -> None:
    case = "a living work is not given up"
    told = story(line, case)
    assert told[2] == {"ijklmn": told[0]["ijklmn"], "abcde": told[0]["de"]}
    assert line.runs[2].changes(case) == {("merge", told[0]["abc"], told[0]["de"], tuple("abc"))}


def test_an_id_that_was_used_is_not_given_to_another_work(line: Line) -> None:
    told = story(line, "a used id is not given again")
    assert told[2]["b"] == told[0]["ab"] == name("a", "a used id is not given again")
    assert told[2]["a"] == name("a", "a used id is not given again", 1)
    told = story(line, "split again")
    assert told[3] == {"ab": told[1]["a"], "cd": told[0]["abcd"]}


def model(before: Works, parts: Parts) -> tuple[Works, set[Change]]:
    """The rule for a run without a history, written down plainly."""
    held = Counter((before[e], min(part)) for part in parts for e in part if e in before)
    goes = {work: min((-n, cluster) for (w, cluster), n in held.items() if w == work) for work, _ in held}
    works, changes = {}, set()
    for part in parts:
        bids = sorted((n, work) for work, (n, cluster) in goes.items() if cluster == min(part))
        tries = (hashed for hashed in (_hashed(min(part), n) for n in range(9)) if hashed not in before.values())
        chosen = bids[0][1] if bids else next(tries)
        works |= dict.fromkeys(part, chosen)
        changes |= {
            ("merge", work, chosen, tuple(sorted(e for e in before if before[e] == work))) for _, work in bids[1:]
        }
        came_from = sorted((-n, work) for (work, cluster), n in held.items() if cluster == min(part))
        if came_from and not bids:
            changes.add(("split", came_from[0][1], chosen, tuple(sorted(part))))
    return works, changes


def _hashed(edition: str, attempt: int) -> str:
    case, _, letter = edition.partition("/")
    return name(letter, case, attempt)


def test_a_run_without_history_follows_the_plain_rule(line: Line) -> None:
    works: Works = {}
    changes: set[Change] = set()
    for case, parts in line.runs[1].parts.items():
        before = {e: work for e, work in line.runs[0].works.items() if e.startswith(f"{case}/")}
        case_works, case_changes = model(before, parts)
        works |= case_works
        changes |= case_changes
    assert line.runs[1].works == works
    assert {(row[2], row[0], row[1], tuple(row[6])) for row in line.runs[1].rows} == changes


def test_each_cluster_is_one_work_in_every_run(line: Line) -> None:
    for run in line.runs:
        groups: dict[str, set[str]] = {}
        for edition, work in run.works.items():
            groups.setdefault(work, set()).add(edition)
        assert set(map(frozenset, groups.values())) == set().union(*run.parts.values())


@pytest.mark.parametrize(
    ("kind", "there", "back"),
    [("steps", 1, 3), ("steps", 0, 4), ("merges", 0, 3), ("splits", 0, 3), ("again", 0, 2), ("again", 1, 3)],
)
def test_there_and_back_gives_the_same_ids(line: Line, kind: str, there: int, back: int) -> None:
    was, now = ({e: w for e, w in line.runs[n].works.items() if e.startswith(kind)} for n in (there, back))
    assert len(was) > 400
    assert now == was


def test_a_repeated_run_changes_nothing(line: Line) -> None:
    repeated = 0
    for last, run in zip(line.runs, line.runs[1:], strict=False):
        for case in (case for case in run.parts if run.parts[case] == last.parts[case]):
            assert run.of(case) == last.of(case)
            assert run.changes(case) == set()
            repeated += 1
    assert repeated > 400


def test_order_and_partitions_of_the_input_change_nothing(line: Line) -> None:
    again = line.run(3, line.runs[3].parts, shuffled=True)
    assert again.works == line.runs[3].works
    assert again.rows == line.runs[3].rows
    assert len(again.rows) > 100


def test_every_id_that_comes_or_goes_is_in_the_history(line: Line) -> None:
    for last, run in zip(line.runs, line.runs[1:], strict=False):
        was, now = set(last.works.values()), set(run.works.values())
        stayed = {last.works[e] for e in run.works if e in last.works}
        old = {w for e, w in run.works.items() if e in last.works}
        came = {row[1] for row in run.rows if row[2] != "merge"}
        gone = {row[0] for row in run.rows if row[2] == "merge"}
        assert old - was <= came <= now - was
        assert gone >= stayed - now
        assert not gone & now
        assert {row[1] for row in run.rows} <= now


def leads(runs: list[Run]) -> dict[str, str]:
    """Where each id that was ever retired leads, one row after the other."""
    parent: dict[str, str] = {}
    ever = set()
    for run in runs:
        for old, new, kind, *_ in run.rows:
            if kind == "restored":
                del parent[new]
            if kind == "merge":
                parent[old] = new
                ever.add(old)
    ends = {}
    for old in ever:
        end = old
        while end in parent:
            end = parent[end]
        ends[old] = end
    return ends


def test_each_retired_id_leads_to_a_work_that_lives(line: Line) -> None:
    assert len(leads(line.runs)) > 200
    history = line.history(STEPS)
    assert history is not None
    assert {row.old_work_id: row.work_id for row in current_ids(history).collect()} == leads(line.runs)
    for n, run in enumerate(line.runs):
        kept = {row[0] for r in line.runs for row in r.rows if not str(row[6][0]).startswith("free")}
        assert {end for old, end in leads(line.runs[: n + 1]).items() if old in kept} <= set(run.works.values())


def test_a_retired_id_leads_to_a_work_that_holds_one_of_its_editions(line: Line) -> None:
    for n, run in enumerate(line.runs):
        held: dict[str, set[str]] = {}
        for edition, work in run.works.items():
            held.setdefault(work, set()).add(edition)
        had = {row[0]: set(row[6]) for r in line.runs[: n + 1] for row in r.rows if row[2] == "merge"}
        for old, end in leads(line.runs[: n + 1]).items():
            moved = any(e.startswith(("free", "moved")) for e in had[old])
            if old != end and had[old] & run.works.keys() and not moved:
                assert had[old] & held[end]


def test_a_row_of_the_history_says_when_and_why(line: Line) -> None:
    first, merged, _ = story(line, "undone")
    (row,) = (row for row in line.runs[1].rows if row[6] == ["undone/d", "undone/e"])
    assert row[:3] == (first["de"], first["abc"], "merge")
    assert row[3].replace(tzinfo=UTC) == AT + timedelta(days=1)
    assert row[4:6] == ("clustering", None)
    (row,) = (row for row in line.runs[WHY_FROM_A_PERSON].rows if row[6] == ["undone/d", "undone/e"])
    assert row[4] == f"a person, of {merged['abcde']}"


def test_a_retired_id_comes_back_with_editions_that_were_away(line: Line) -> None:
    told = story(line, "back alone")
    assert told[3] == told[0]
    assert line.runs[3].changes("back alone") == {("restored", told[0]["ab"], told[0]["c"], ("c",))}


def test_an_edition_that_was_away_finds_what_its_work_is_called_now(line: Line) -> None:
    case = "away, all known"
    told = story(line, case)
    assert line.runs[2].changes(case) == {("merge", told[0]["ab"], told[0]["cde"], tuple("ab"))}
    assert told[3] == {"abcde": told[0]["cde"]}
    assert line.runs[3].changes(case) == set()


def test_a_long_chain_of_merges_is_followed_to_its_end(spark: SparkSession) -> None:
    rows = [(f"w{n}", f"w{n + 1}", "merge", AT + timedelta(n), "", None, [f"e{n}"]) for n in range(1000)]
    rows.append(("w1000", "w500", "restored", AT + timedelta(2000), "", None, ["e500"]))
    found = current_ids(spark.createDataFrame(rows, spark_schema(WORK_HISTORY)))
    assert {row.old_work_id: row.work_id for row in found.collect()} == {
        f"w{n}": "w500" if n <= 500 else "w1000" for n in range(1000)
    }


def test_a_circle_of_merges_is_an_error(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "MAX_ROUNDS", 4)
    rows = [(a, b, "merge", AT, "", None, ["e"]) for a, b in (("wa", "wb"), ("wb", "wc"), ("wc", "wa"))]
    with pytest.raises(TerminalError, match="circle"):
        current_ids(spark.createDataFrame(rows, spark_schema(WORK_HISTORY)))


def test_a_missing_column_is_named(spark: SparkSession) -> None:
    clusters = spark.createDataFrame([("a", "a")], "edition_id string, cluster string")
    with pytest.raises(ContractError, match="Columns are missing in the clusters: cluster"):
        stable_ids(clusters.drop("cluster"), None, None, AT)
    with pytest.raises(ContractError, match="Columns are missing in the works before: work_id"):
        stable_ids(clusters, clusters, None, AT)
    with pytest.raises(ContractError, match="Columns are missing in the history of works: old_work_id"):
        current_ids(clusters)
