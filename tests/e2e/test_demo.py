"""The whole line, as a newcomer runs it: generated readers first, then a slice of the real dump into the same stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from bookworks.adapters import airflow, clickhouse, neo4j, postgres
from bookworks.clock import now
from bookworks.contracts.queries import QUERIES
from bookworks.settings import PROJECT_ROOT, Settings
from infra.local import showcase
from infra.local.follow import follow
from tests.e2e.book_crossing_slice import write_slice

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]  # five minutes on two idle cores
SIZES = ["--works=400", "--readers=400", "--events=24000", "--plays=5"]
BOOKS_OF_SLICE = 150


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bookworks.cli.main", *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)


def query(settings: Settings, sql: str) -> list[Any]:
    with clickhouse.connect(settings) as client:
        return [row[0] for row in client.query(sql).result_rows]


@pytest.fixture(scope="module")
def demo(stack: Any) -> str:
    """What the demo printed."""
    done = run("demo", *SIZES)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_demo_shows_what_the_newcomer_came_for(demo: str) -> None:
    for words in ("counts", "full-catalogue ranking", "warm reader", "new reader", "after a click", "where to look",
                  "recommendations_per_bundle", "click_through_per_surface", "ndcg_by_model_version", "/docs",
                  "bookworks down"):  # fmt: skip
        assert words in demo
    for floor in ("random", "popularity"):
        assert floor in demo


def test_demo_names_no_secret(demo: str, stack: Any) -> None:
    secrets = (stack.settings.state_dir / "secrets.env").read_text().splitlines()
    values = [line.split("=", 1)[1].strip("'\"") for line in secrets if "=" in line]
    assert values
    assert not [value for value in values if value and value in demo]


def test_counts_add_up(demo: str) -> None:
    done = run("ingest", "reconcile", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)


@pytest.mark.parametrize("name", ["recommendations_per_bundle", "click_through_per_surface", "ndcg_by_model_version"])
def test_analysts_questions_have_answers(demo: str, stack: Any, name: str) -> None:
    with clickhouse.connect(stack.settings) as client:
        rows = client.query(QUERIES[name]).result_rows
    assert rows
    if name == "ndcg_by_model_version":
        models = {row[1] for row in rows}
        assert {"blend", "random", "popularity", "two_tower", "gnn", "als", "item_filter"} <= models


def test_click_changes_the_next_answer(demo: str, stack: Any) -> None:
    settings = stack.settings
    key = {"X-API-Key": settings.service_api_key.get_secret_value()}
    with httpx.Client(base_url=settings.service_url, timeout=10) as service:
        before = showcase.recommend(service, key, "e2e-new-reader")
        showcase.click(service, key, "e2e-new-reader", before)
        after = showcase.recommend(service, key, "e2e-new-reader")
    assert [i["work_id"] for i in before["items"]] != [i["work_id"] for i in after["items"]]
    assert (before["tier"], after["tier"]) == ("cold", "session")


def test_housekeeping_runs(demo: str, stack: Any) -> None:
    with airflow.connect(stack.settings) as client:
        since = now()
        client.trigger("housekeeping", {})
        done = follow(client, ["housekeeping"], since, timeout_s=300)
    states = {task.task_id: task.state for task in done}
    assert states.pop("train_when_old") == "skipped"  # the champion is of today
    assert set(states) == {"reconcile", "freshness", "drift", "prune_runs", "champion_age"}
    assert set(states.values()) == {"success"}


def test_each_dag_left_a_row(demo: str, stack: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analytics.airflow_to_clickhouse", "--once"], cwd=PROJECT_ROOT, check=False
    )
    assert done.returncode == 0
    dags = query(stack.settings, "SELECT DISTINCT dag_id FROM pipeline_runs FINAL WHERE state = 'success'")
    assert {"catalogue", "features", "train_and_promote", "publish"} <= set(dags)


def test_decisions_are_in_clickhouse_with_the_bundle(demo: str, stack: Any) -> None:
    served = query(stack.settings, "SELECT DISTINCT bundle_version FROM decisions FINAL")
    registered = query(stack.settings, "SELECT DISTINCT bundle_version FROM models")
    assert served
    assert set(served) <= set(registered)


def test_works_and_authors_are_in_the_graph(demo: str, stack: Any) -> None:
    with neo4j.connect(stack.settings) as driver:
        records, _, _ = driver.execute_query("MATCH (a:Author)-[:WROTE]->(w:Work) RETURN count(DISTINCT w) AS works")
    assert records[0]["works"] > 100


@pytest.fixture(scope="module")
def merged(demo: str, stack: Any) -> tuple[str, str]:
    """Two works that a reader was shown and that a person then declared one; the reader has clicked the first."""
    key = {"X-API-Key": stack.settings.service_api_key.get_secret_value()}
    with httpx.Client(base_url=stack.settings.service_url, timeout=10) as service:
        shown = showcase.recommend(service, key, "e2e-merge-reader")
        showcase.click(service, key, "e2e-merge-reader", shown)
    one, other = (item["work_id"] for item in shown["items"][:2])
    done = run("works", "merge", one, other, "--why", "a test")
    assert done.returncode == 0, done.stderr
    return one, other


def test_real_slice_follows_on_the_same_stack(
    demo: str, merged: tuple[str, str], data_dir: Path, tmp_path: Path
) -> None:
    write_slice(data_dir / "book-crossing-classic", tmp_path / "slice", BOOKS_OF_SLICE)
    done = run("demo", f"--data={tmp_path / 'slice'}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "warm reader" in done.stdout
    assert run("ingest", "reconcile").returncode == 0


def test_a_merge_is_followed_by_all_that_the_dags_built(merged: tuple[str, str], data_dir: Path, stack: Any) -> None:
    """Runs after the DAGs of the slice: one of the two ids is retired, and leads to the other everywhere."""
    settings = stack.settings
    key = {"X-API-Key": settings.service_api_key.get_secret_value()}
    with httpx.Client(base_url=settings.service_url, timeout=10, headers=key) as service:
        books = [service.get(f"/v1/books/{work_id}").json() for work_id in merged]
        asked = {"user_id": "e2e-merge-reader", "n": 100}
        shown = {item["work_id"] for item in service.post("/v1/recommend", json=asked).json()["items"]}
        history = service.get("/v1/users/e2e-merge-reader").json()["history"]
    assert books[0] == books[1]
    (retired,) = books[0]["former_ids"]
    assert {retired, books[0]["work_id"]} == set(merged)
    assert not shown & set(merged)
    assert [item["work_id"] for item in history] == [books[0]["work_id"]]
    with postgres.connect(settings, settings.warehouse_db) as db:
        kinds = db.execute("select kind from marts.work_history where old_work_id = %s", (retired,)).fetchall()
        reads = db.execute("select count(*) from marts.interactions where work_id = %s", (retired,)).fetchone()
    assert (kinds, reads) == ([("merge",)], (0,))
    ids = f"SELECT current_work_id FROM work_ids FINAL WHERE work_id = '{retired}'"
    assert query(settings, ids) == [books[0]["work_id"]]
    with neo4j.connect(settings) as driver:
        found, _, _ = driver.execute_query("MATCH (w:Work) WHERE w.work_id IN $ids RETURN w.work_id AS id", ids=merged)
    assert [record["id"] for record in found] == [books[0]["work_id"]]
