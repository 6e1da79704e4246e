"""A person's decision on real servers: from Postgres through the jobs of the DAGs to the marts, and back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from bookworks.adapters import clickhouse, postgres, s3
from bookworks.contracts.lake import RAW_SCHEMAS, raw_key
from bookworks.settings import Settings, get_settings
from spark_jobs import clean_catalogue, cluster_works, dedupe_interactions, evaluate_works, lake_to_warehouse
from spark_jobs.lake import Lake
from spark_jobs.session import give_store
from spark_jobs.works.decisions_cli import app

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
# Many works, so that one merge is no jump that `evaluate_works` would refuse.
TITLES = ("Solaris", "Fiasco", "Kallocain", "Emma", "Ubik", "Nana", "Rebecca", "Middlemarch", "Walden", "Dracula",
          "Kim", "Ulysses", "Utopia", "Germinal", "Candide", "Evelina", "Shirley", "Villette", "Trilby", "Zuleika",
          "Lolita", "Pnin", "Demian", "Amerika")  # fmt: skip
CATALOGUE = [
    {"edition_id": f"e{n:02}", "title": title, "author": f"Anna Author{chr(97 + n)}", "subjects": []}
    for n, title in enumerate(TITLES)
]
EVENT = {"event_id": "ev1", "kind": "loan", "user_id": "u1", "edition_id": "e01"}
TABLES = {
    "raw.edition_works": "edition_id, work_id, confidence", "raw.works": "work_id, title, author, editions",
}  # fmt: skip
# What brings works from the clean catalogue to the warehouse; interactions stay as they are.
AGAIN = (cluster_works, evaluate_works, lake_to_warehouse)
LEADS = "select work_id, current_work_id from marts.work_ids"


@pytest.fixture
def settings(
    stack: Any, raw_record: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """A warehouse and a lake of their own, with the catalogue."""
    stack.need("clickhouse", "minio", "postgres")
    monkeypatch.setenv("BOOKWORKS_WAREHOUSE_DB", "test_merge")
    monkeypatch.setenv("BOOKWORKS_LAKE_BUCKET", "test-merge")
    ready: Settings = stack.settings
    s3.ensure_buckets(ready)
    postgres.ensure_databases(ready)
    clickhouse.ensure_tables(ready)
    empty(ready)
    for topic, rows in (("catalogue", CATALOGUE), ("readers", [{"user_id": "u1"}]), ("interactions", [EVENT])):
        table = pa.Table.from_pylist(raw_record(topic, *rows), schema=RAW_SCHEMAS[topic])
        path = f"{ready.lake_bucket}/{raw_key(topic, 0, 0, len(rows) - 1, '2026-01-01')}"
        pq.write_table(table, path, filesystem=s3.filesystem(ready))
    yield ready
    get_settings.cache_clear()


def empty(settings: Settings) -> None:
    """Forget what an earlier session left."""
    client = s3.connect(settings)
    for key in list(s3.list_keys(settings, settings.lake_bucket, "")):
        client.delete_object(Bucket=settings.lake_bucket, Key=key)
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        db.execute("drop schema if exists identity cascade")


def run_jobs(lake: Lake, settings: Settings, *jobs: ModuleType) -> None:
    for job in jobs:
        job.run(lake, settings)


def build_marts() -> None:
    """Those about ids."""
    command = [sys.executable, "-m", "bookworks.cli.main", "dbt", "--", "run", "--select", "+work_history +work_ids"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def read(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        return db.execute(query).fetchall()


def seen(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables that a decision may change."""
    return {table: read(settings, f"select {names} from {table} order by 1") for table, names in TABLES.items()}


def decide(*arguments: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output


def test_a_merge_by_hand_reaches_the_marts_and_undo_gives_back_all(settings: Settings, spark: SparkSession) -> None:
    give_store(spark, settings)
    lake = Lake.of(spark, settings)
    run_jobs(lake, settings, clean_catalogue, cluster_works, evaluate_works, dedupe_interactions, lake_to_warehouse)
    before = seen(settings)
    work_of = {edition: work for edition, work, _ in before["raw.edition_works"]}
    pair = {edition: work_of[edition] for edition in ("e00", "e01")}
    assert len(set(work_of.values())) == len(CATALOGUE)
    history = "select kind, old_work_id, new_work_id, why, score, at from marts.work_history order by at"

    decide("merge", *pair.values(), "--why", "one book", "--who", "Ada")
    run_jobs(lake, settings, *AGAIN)
    build_marts()
    merged = seen(settings)
    (row,) = read(settings, history)
    kind, gone, kept = row[:3]
    assert (kind, {gone, kept}) == ("merge", set(pair.values()))
    assert row[3] == "merge by Ada: one book"
    assert all(row[4:])  # how sure, when
    assert {edition for edition, work, _ in merged["raw.edition_works"] if work == kept} == set(pair)
    assert dict(read(settings, LEADS)) == {work: work for work in work_of.values()} | {gone: kept}

    decide("undo", "1", "--who", "Ada")
    run_jobs(lake, settings, *AGAIN)
    build_marts()
    assert seen(settings) == before
    assert dict(read(settings, LEADS)) == {work: work for work in work_of.values()}
    assert [row[:4] for row in read(settings, history)] == [
        ("merge", gone, kept, "merge by Ada: one book"),
        ("restored", kept, gone, "merge of Ada undone by Ada"),
    ]
