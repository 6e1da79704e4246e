"""Works that got worse stop there, on real servers, until a person accepts them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame
from typer.testing import CliRunner

from bookworks.adapters import clickhouse, postgres
from bookworks.contracts.lake import works_state_prefix
from bookworks.errors import ContractError, SettingError, TerminalError, TransientError
from bookworks.settings import Settings, get_settings
from spark_jobs import evaluate_works, lake_to_warehouse
from spark_jobs.lake import Lake
from spark_jobs.works import decisions, sampling, verdicts
from spark_jobs.works.aliases import load_aliases
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.measures_cli import app
from spark_jobs.works.state import State, save

pytestmark = pytest.mark.integration
Make = Callable[..., DataFrame]
TRUTH = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "f": "z"}


@pytest.fixture
def settings(stack: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    """A warehouse of its own in which nothing was measured, and known works."""
    stack.need("postgres", "clickhouse")
    truth = tmp_path / "truth.csv"
    truth.write_text("edition_id,work_id\n" + "".join(f"{e},{w}\n" for e, w in TRUTH.items()))
    monkeypatch.setenv("BOOKWORKS_WAREHOUSE_DB", "test_measures")
    monkeypatch.setenv("BOOKWORKS_WORKS_TRUTH", str(truth))
    ready: Settings = stack.settings
    postgres.ensure_databases(ready)
    clickhouse.ensure_tables(ready)
    with postgres.connect(ready, ready.warehouse_db, autocommit=True) as db:
        db.execute("drop schema if exists identity cascade; drop schema if exists raw cascade")
    yield ready
    get_settings.cache_clear()


def put(lake: Lake, clean: Make, works: dict[str, str]) -> None:
    """The lake as `cluster_works` leaves it."""
    editions = [{"edition_id": e, "source": "s", "title": f"Title {e}", "author": "A"} for e in TRUTH]
    counts = {w: list(works.values()).count(w) for w in works.values()}
    described = [{"work_id": w, "title": f"Work {w}", "editions": n} for w, n in counts.items()]
    pairs = [("a", "b", 0.9), ("c", "d", 0.8), ("b", "c", 0.2)]
    lake.replace_clean("editions", clean("editions", *editions))
    lake.replace_clean("works", clean("works", *described))
    tables = {"pairs": lake.spark.createDataFrame(pairs, "a string, b string, p double"),
              "nodes": lake.spark.createDataFrame([(e, 1) for e in TRUTH], "node string, records long")}  # fmt: skip
    state = State(**{one.name: tables.get(one.name, tables["pairs"]) for one in fields(State)})
    save(state, f"{lake.root}/{works_state_prefix()}", MatchConfig(aliases=load_aliases(None)))
    lake.replace_clean("edition_works", clean("edition_works", *({"edition_id": e, "work_id": w, "confidence": 1.0}
                                                                 for e, w in works.items())))  # fmt: skip


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_works_that_got_worse_stop_until_a_person_accepts_them(lake: Lake, clean: Make, settings: Settings) -> None:
    settings = settings.model_copy(update={"works_sample": 0})
    put(lake, clean, TRUTH)
    with pytest.raises(TransientError, match="not measured yet"):
        lake_to_warehouse.run(lake, settings)
    first = evaluate_works.run(lake, settings)
    assert (first["state"], first["truth_bcubed_f1"], first["truth_editions"], first["largest_work"]) == (
        "passed", 1.0, 6, 2)  # fmt: skip
    assert first["largest"][0] == {"work_id": "x", "title": "Work x", "author": None, "editions": 2}
    with pytest.raises(TerminalError, match="No works wait"):
        call("accept", "--why", "no reason")

    put(lake, clean, TRUTH | {"c": "x", "d": "x"})  # two books become one
    worse = lake.version("edition_works")
    for _ in range(2):  # again is no way round
        with pytest.raises(TerminalError, match=r"truth_bcubed_f1 went from 1.000 to .* \(allowed: down to 0.980\)"):
            evaluate_works.run(lake, settings)
    with pytest.raises(TerminalError, match="The works were refused"):
        lake_to_warehouse.run(lake, settings)
    assert "truth_bcubed_f1 went from 1.000" in call("measures")
    shown = json.loads(call("measures", "--json"))
    assert (shown["version"], shown["state"]) == (worse, "refused")

    assert str(worse) in call("accept", "--why", "a box set", "--who", "ada")
    assert evaluate_works.run(lake, settings)["state"] == "accepted"
    verdicts.check_not_refused(settings, worse)
    put(lake, clean, TRUTH | {"c": "x", "d": "x"})  # the same level, in the next run
    assert evaluate_works.run(lake, settings)["state"] == "passed"
    rows = clickhouse.connect(settings).query(
        "SELECT state, value < 1 FROM works_measures FINAL WHERE measure = 'truth_bcubed_f1'"
        " AND measured_at >= (SELECT max(measured_at) FROM works_measures WHERE version = %(v)s) ORDER BY measured_at",
        parameters={"v": worse},
    )
    assert rows.result_rows == [("accepted", 1), ("passed", 1)]


def test_the_sample_waits_in_the_queue_and_its_answers_are_measured(
    lake: Lake, clean: Make, settings: Settings
) -> None:
    put(lake, clean, TRUTH)
    assert "reviewed_precision" not in evaluate_works.run(lake, settings)
    assert decisions.queue(settings, 10) == []
    drawn = decisions.queue(settings, 10, sample=True)
    assert {(one.left_edition, one.right_edition, one.joined) for one in drawn} == {
        ("a", "b", True), ("c", "d", True), ("b", "c", False)}  # fmt: skip
    decisions.replace_queue(settings, [])
    assert decisions.queue(settings, 10, sample=True) == drawn
    assert not sampling.is_due(settings)
    for one in drawn:
        decisions.answer(settings, one.left_edition, one.right_edition, one.left_edition == "a", "ada")
    found = evaluate_works.run(lake, settings)
    assert (found["reviewed_precision"], found["reviewed_recall"], found["reviewed_pairs"]) == (0.8333, 1.0, 3)
    assert (found["answered_precision"], found["answered_recall"]) == (0.5, 1.0)
    assert found["decisions_broken"] == 0  # they are younger than the catalogue
    assert decisions.queue(settings, 10, sample=True) == []

    put(lake, clean, TRUTH)  # cleaned after the answers, and c is with d still
    later = lake.written_at("editions")
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        db.execute("update identity.decisions set at = %s - interval '1 second'", (later,))
    with pytest.raises(TerminalError, match="decisions_broken is 1"):
        evaluate_works.run(lake, settings)


def test_lost_editions_and_a_truth_that_is_not_there_are_told(
    lake: Lake, clean: Make, settings: Settings, tmp_path: Path
) -> None:
    put(lake, clean, TRUTH)
    wrong = settings.model_copy(update={"works_truth": str(tmp_path / "nowhere.csv")})
    with pytest.raises(SettingError, match="BOOKWORKS_WORKS_TRUTH"):
        evaluate_works.run(lake, wrong)
    put(lake, clean, {e: w for e, w in TRUTH.items() if e != "f"})
    with pytest.raises(ContractError, match=r"'lost': 1, 'doubled': 0"):
        evaluate_works.run(lake, settings)
