"""`bookworks works merge|split|undo|decisions|review`, as a person at a terminal uses them."""

from __future__ import annotations

import getpass
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from typer.testing import CliRunner, Result

from bookworks.adapters import postgres
from bookworks.clock import now
from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings
from spark_jobs.lake_to_warehouse import columns_ddl
from spark_jobs.works import decisions, sampling
from spark_jobs.works.decisions import ReviewPair
from spark_jobs.works.decisions_cli import app

pytestmark = pytest.mark.integration
COMMAND = "from bookworks.cli.entry import run; from spark_jobs.works.decisions_cli import app; run(app)"
NEXT = "takes effect with the next run of the DAG catalogue"


@pytest.fixture
def warehouse(stack: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A warehouse of its own with works w1 (a, b) and w2 (c, d), and three pairs to review."""
    stack.need("postgres")
    monkeypatch.setenv("BOOKWORKS_WAREHOUSE_DB", "test_decisions")
    settings: Settings = stack.settings
    postgres.ensure_databases(settings)
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        db.execute("drop schema if exists identity cascade; drop schema if exists raw cascade; create schema raw")
        ddl = columns_ddl(CLEAN_SCHEMAS["edition_works"])
        db.execute(sql.SQL("create table raw.edition_works ({})").format(ddl))
        db.execute(
            "insert into raw.edition_works select edition, work, 1, now()"
            " from (values ('a', 'w1'), ('b', 'w1'), ('c', 'w2'), ('d', 'w2')) as known (edition, work)"
        )
    left = {"title": "Stein der [bold]Weisen", "author": "J. K. Rowling", "year": 1998, "language": "de"}
    right = {"title": "Sorcerer's Stone", "author": "J. K. Rowling", "isbn13": "9780590353427"}
    sizes = {("a", "c"): 3_000, ("b", "d"): 200, ("a", "d"): 10}
    decisions.replace_queue(settings, [ReviewPair(*ids, 0.5, n, left, right) for ids, n in sizes.items()])
    yield settings
    get_settings.cache_clear()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def at_terminal(typed: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal where a person types `typed`; returns the exit code and what was shown."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while chunk := os.read(ours, 65_536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(30), shown.decode()


def stored(settings: Settings) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(one.kind, one.left_editions, one.right_editions) for one in decisions.standing(settings)]


def test_merge_split_and_undo_say_what_happens_next(warehouse: Settings) -> None:
    merged = call("merge", "w1", "w2", "--why", "one book")
    assert merged.output == f"decision 1 (merge of w1, w2: 4 editions) is stored; {NEXT}\n"
    cut = call("split", "w1", "a", "--why", "another book", "--who", "ada")
    assert cut.output == f"decision 2 (split of w1: 1 of 2 editions out) is stored; {NEXT}\n"
    assert [one.who for one in decisions.standing(warehouse)] == [getpass.getuser(), "ada"]
    undone = call("undo", "1", "--who", "bob")
    assert undone.output == f"decision 1 (merge of w1, w2: 4 editions) is undone; {NEXT}\n"
    assert stored(warehouse) == [("split", ("a",), ("b",))]


def test_a_mistake_is_told_in_words(warehouse: Settings) -> None:
    for arguments, words in (
        (("merge", "w1", "--why", "x"), "needs two works"),
        (("split", "w1", "c", "--why", "x"), "not in the work w1"),
        (("undo", "7"), "no such decision"),
    ):
        result = call(*arguments)
        assert result.exit_code == 1
        assert isinstance(result.exception, TerminalError)
        assert words in str(result.exception)
    assert call("merge", "w1", "w2").exit_code == 2  # without --why


def test_decisions_are_listed_and_the_undone_only_when_asked_for(warehouse: Settings) -> None:
    assert call("decisions").output == "Nobody has decided anything yet.\n"
    call("merge", "w1", "w2", "--why", "a [red]reason", "--who", "ada")
    call("split", "w2", "c", "--why", "why", "--who", "ada")
    call("undo", "2", "--who", "bob")
    shown = call("decisions").output
    assert "merge of w1, w2: 4 editions" in shown
    assert "a [red]reason" in shown
    assert "split" not in shown
    everything = json.loads(call("decisions", "--json", "--all").output)
    assert [(one["decision_id"], one["kind"], one["undone_by"]) for one in everything] == [
        (1, "merge", None),
        (2, "split", "bob"),
    ]
    assert "bob" in call("decisions", "--all").output
    assert [one["decision_id"] for one in json.loads(call("decisions", "--json").output)] == [1]


def test_a_review_prints_its_pairs_as_json_without_a_terminal(warehouse: Settings) -> None:
    pairs = json.loads(call("review", "--json", "--n", "2").output)
    assert [(one["left_edition"], one["right_edition"], one["readers"]) for one in pairs] == [
        ("a", "c", 3_000),
        ("b", "d", 200),
    ]
    assert pairs[0]["right"]["isbn13"] == "9780590353427"


def test_a_review_without_a_terminal_says_so_and_exits_1(warehouse: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "review"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "standard input is no terminal" in done.stderr
    assert "--json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_review_shows_both_sides_and_stores_each_answer(warehouse: Settings) -> None:
    code, shown = at_terminal("what\ns\n\nD\n", "review", "--who", "ada")
    assert code == 0
    assert stored(warehouse) == [("same", ("a",), ("c",)), ("different", ("a",), ("d",))]
    for words in (
        "1 of 3: 3,000 readers, probability 0.50",
        "'what' is none of the choices",
        "Stein der [bold]Weisen",
        "9780590353427",
        "same (s), different (d), skip (Enter), quit (q)",
        f"2 answered; {NEXT}",
    ):
        assert words in shown
    assert [one.left_edition for one in decisions.queue(warehouse, 9)] == ["b"]


def test_a_review_stops_when_asked_and_keeps_what_was_answered(warehouse: Settings) -> None:
    code, shown = at_terminal("d\nq\n", "review")
    assert code == 0
    assert stored(warehouse) == [("different", ("a",), ("c",))]
    assert "3 of 3" not in shown


def test_a_review_asks_nothing_that_its_own_answers_settle(warehouse: Settings) -> None:
    call("merge", "w1", "w2", "--why", "x")  # settles all three
    code, shown = at_terminal("", "review")
    assert code == 0
    assert "Nothing waits for a review" in shown
    call("undo", "1")
    decisions.answer(warehouse, "c", "d", True, "ada")
    code, shown = at_terminal("s\n\ns\n", "review")  # a with c, hence with d: after b and d is nothing to ask
    assert code == 0
    assert stored(warehouse)[1:] == [("same", ("a",), ("c",))]
    assert "2 of 3" in shown
    assert "3 of 3" not in shown


def test_the_end_of_the_input_ends_a_review(warehouse: Settings) -> None:
    code, shown = at_terminal("s\n\x04", "review")
    assert code == 0
    assert stored(warehouse) == [("same", ("a",), ("c",))]
    assert f"1 answered; {NEXT}" in shown


def test_labels_are_written_with_the_records_they_are_of(warehouse: Settings, tmp_path: Path) -> None:
    with postgres.connect(warehouse, warehouse.warehouse_db, autocommit=True) as db:
        db.execute(sql.SQL("create table raw.editions ({})").format(columns_ddl(CLEAN_SCHEMAS["editions"])))
        db.execute(
            "insert into raw.editions (edition_id, source, title, year, loaded_at)"
            " values ('c', 's', 'Emma, a novel', null, now()), ('a', 's', 'Dune', 1965, now())"
        )
    decisions.answer(warehouse, "c", "a", same=False, who="ada")
    labels, records = tmp_path / "labels.csv", tmp_path / "records.csv"
    told = call("labels", "--output", str(labels), "--records", str(records))
    assert told.output.startswith("1 labels")
    assert labels.read_text() == "left_id,right_id,same\na,c,0\n"
    assert records.read_text() == (
        "edition_id,title,author,isbn,publisher,year,language,series,format\n"
        'a,Dune,,,,1965,,,\nc,"Emma, a novel",,,,,,,\n'
    )
    assert "cannot be written" in str(call("labels", "--output", str(tmp_path / "no" / "where.csv")).exception)


def test_a_sample_is_asked_at_random_without_what_the_scorer_thinks(warehouse: Settings) -> None:
    pair = ReviewPair("x", "y", 0.93, 0, {"title": "One"}, {"title": "Two"}, joined=True)
    sampling.put(warehouse, now(), [sampling.Drawn(pair, "joined 3", 1.0, 8.0)])
    assert [one["left_edition"] for one in json.loads(call("review", "--json").output)] == ["a", "b", "a"]
    assert [one["left_edition"] for one in json.loads(call("review", "--json", "--sample").output)] == ["x"]
    code, shown = at_terminal("s\n", "review", "--sample", "--who", "ada")
    assert code == 0, shown
    assert "drawn at random" in shown
    assert "0.93" not in shown
    assert stored(warehouse) == [("same", ("x",), ("y",))]
