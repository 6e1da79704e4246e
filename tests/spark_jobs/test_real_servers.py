"""The jobs on MinIO and Postgres; as a DAG calls them, and on a standalone master with two workers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import SparkSession

from bookworks.adapters import clickhouse, postgres, s3
from bookworks.contracts.lake import (
    RAW_SCHEMAS,
    clean_pointer_key,
    clean_prefix,
    clean_version_prefix,
    raw_key,
    raw_prefix,
)
from bookworks.settings import Settings
from spark_jobs import clean_catalogue, cluster_works, dedupe_interactions, evaluate_works, lake_to_warehouse
from spark_jobs.lake import Lake
from spark_jobs.session import give_store

SPARK_HOME = Path(pyspark.__file__).parent
# What Spark's shell scripts would set: with these a worker finds the classes of its executors.
PLACES = {"SPARK_HOME": str(SPARK_HOME), "SPARK_SCALA_VERSION": "2.13"}
CATALOGUE = [
    {"edition_id": "e1", "title": "Dune", "author": "Frank Herbert", "isbn": "0441013597", "subjects": ["sf"]},
    {"edition_id": "e2", "title": "DUNE", "author": "Herbert, Frank, 1920-1986", "subjects": []},
    {"edition_id": "e3", "title": "Die Grast\xc3?\xc2\xa4nzer", "author": None, "subjects": []},
    {"edition_id": "e4", "title": "NULL", "author": "Nobody", "subjects": []},
]
READERS = [{"user_id": "u1", "location": "berlin, berlin, germany", "age": 30}]
EVENTS = [
    {"event_id": f"ev{n}", "kind": "rating", "user_id": "u1", "edition_id": edition, "value": 8.0}
    for n, edition in enumerate(("e1", "e2", "e3", "unknown"))
]


def job(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one job in a process of its own, as a DAG does."""
    return subprocess.run(
        [sys.executable, "-m", f"spark_jobs.{name}"],
        env=os.environ | {"BOOKWORKS_SPARK_DRIVER_MEMORY": "1g"} | environment,
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip


def counts(name: str, **environment: str) -> dict[str, Any]:
    done = job(name, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stored(settings: Settings, table: str) -> int:
    """Rows of a clean table, found by its pointer without Spark."""
    found = s3.connect(settings).get_object(Bucket=settings.lake_bucket, Key=clean_pointer_key(table))
    pointer = json.loads(found["Body"].read())
    folder = f"{settings.lake_bucket}/{clean_version_prefix(table, pointer['version'])}".rstrip("/")
    rows: int = pq.read_table(folder, filesystem=s3.filesystem(settings), partitioning=None).num_rows
    assert rows == pointer["rows"]
    return rows


def put_raw(settings: Settings, make_rows: Callable[..., list[dict[str, Any]]]) -> None:
    """Replace the raw lake by a handful of records."""
    store, client = s3.filesystem(settings), s3.connect(settings)
    for topic, rows in (("catalogue", CATALOGUE), ("readers", READERS), ("interactions", EVENTS)):
        for key in list(s3.list_keys(settings, settings.lake_bucket, raw_prefix(topic))):
            client.delete_object(Bucket=settings.lake_bucket, Key=key)
        records = make_rows(topic, *rows)
        path = f"{settings.lake_bucket}/{raw_key(topic, 0, 0, len(records) - 1, '2026-01-01')}"
        pq.write_table(pa.Table.from_pylist(records, schema=RAW_SCHEMAS[topic]), path, filesystem=store)


@pytest.fixture
def settings(stack: Any, raw_record: Callable[..., list[dict[str, Any]]]) -> Settings:
    ready: Settings = stack.need("clickhouse", "minio", "postgres")
    s3.ensure_buckets(ready)
    postgres.ensure_databases(ready)
    clickhouse.ensure_tables(ready)
    put_raw(ready, raw_record)
    return ready


@pytest.mark.integration
def test_the_chain_from_raw_lake_to_warehouse(settings: Settings, spark: SparkSession) -> None:
    give_store(spark, settings)
    lake = Lake.of(spark, settings)
    cleaned = clean_catalogue.run(lake, settings)
    assert (cleaned["editions_in"], cleaned["editions_out"], cleaned["editions_rejected_no_title"]) == (4, 3, 1)
    clustered = cluster_works.run(lake, settings)
    assert (clustered["editions_in"], clustered["works_out"]) == (3, 2)
    assert evaluate_works.run(lake, settings)["state"] == "passed"
    deduped = dedupe_interactions.run(lake, settings)
    assert (deduped["interactions_in"], deduped["with_work"], deduped["orphans"]) == (4, 3, 1)
    assert clean_catalogue.run(lake, settings)["editions_out"] == 3
    keys = s3.list_keys(settings, settings.lake_bucket, clean_prefix("editions"))
    assert len({key.split("/")[2] for key in keys}) == 3  # the pointer, the current version, the previous one
    assert stored(settings, "editions") == 3
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        for _ in range(2):  # a repeat replaces, and a view on a raw table survives it
            loaded = lake_to_warehouse.run(lake, settings)
            db.execute("create or replace view raw.seen as select distinct user_id from raw.interactions")
        assert loaded["interactions_rows"] == 4
        assert db.execute("select count(*), count(distinct loaded_at) from raw.editions").fetchone() == (3, 1)
        assert db.execute("select title from raw.editions where edition_id = 'e3'").fetchone() == ("Die Grastänzer",)
        assert db.execute("select subjects from raw.works where editions = 2").fetchone() == (["sf"],)
        assert loaded["work_history_rows"] == clustered["history_rows"]
        assert db.execute("select user_id from raw.seen").fetchall() == [("u1",)]
        db.execute("drop view raw.seen")


@pytest.mark.integration
def test_a_load_waits_for_no_other_load(settings: Settings) -> None:
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        db.execute("select pg_advisory_lock(7207001)")
        done = job("lake_to_warehouse")
    assert done.returncode == 75
    assert "Another load of the warehouse is running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_a_store_that_is_away_is_told_in_words_and_worth_a_retry(settings: Settings) -> None:
    done = job("dedupe_interactions", BOOKWORKS_S3_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 75, done.stderr
    assert "did not answer" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert settings.s3_secret_key.get_secret_value() not in done.stderr + done.stdout


def test_a_master_that_is_away_is_told_in_words() -> None:
    done = job("dedupe_interactions", BOOKWORKS_SPARK_MASTER="nonsense://x")
    assert done.returncode in (1, 75)
    assert "BOOKWORKS_SPARK_MASTER" in done.stderr
    assert "Traceback" not in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def deploy(kind: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """Start Spark's own Master or Worker class."""
    main = f"org.apache.spark.deploy.{kind.lower()}.{kind}"
    command = ["java", "-Xmx256m", "-cp", f"{SPARK_HOME}/jars/*", main, "--host", "127.0.0.1", *arguments]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | PLACES)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The address of a standalone master with two workers; ended with the test."""
    port, page = free_port(), free_port()
    address = f"spark://127.0.0.1:{port}"
    log = tmp_path / "master.log"
    servers = [deploy("Master", "--port", str(port), "--webui-port", str(page), log=log)]
    try:
        for n in range(2):
            folder = str(tmp_path / f"work{n}")
            options = ("--cores", "1", "--memory", "600m", "--webui-port", str(free_port()), "--work-dir", folder)
            servers.append(deploy("Worker", *options, address, log=tmp_path / f"worker{n}.log"))
        wait_for_workers(log, 2)
        yield address
    finally:
        for server in reversed(servers):
            server.terminate()
        for server in servers:
            server.wait(30)


def wait_for_workers(log: Path, n: int) -> None:
    until = time.monotonic() + 90
    while log.read_text().count("Registering worker") < n:
        assert time.monotonic() < until, log.read_text()[-2000:]
        time.sleep(0.3)


@pytest.mark.integration
def test_a_job_on_a_standalone_master_with_two_workers(settings: Settings, master: str, tmp_path: Path) -> None:
    done = counts("clean_catalogue", BOOKWORKS_SPARK_MASTER=master, BOOKWORKS_SPARK_EXECUTOR_MEMORY="512m")
    assert done["editions_out"] == 3
    executors = [folder for n in range(2) for folder in (tmp_path / f"work{n}").glob("app-*/*")]
    assert len(executors) >= 2  # both workers had one
    assert stored(settings, "editions") == 3
