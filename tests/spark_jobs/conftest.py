"""A small Spark session for transforms, and a lake in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from bookworks.contracts.lake import CLEAN_SCHEMAS, RAW_SCHEMAS, raw_key
from bookworks.settings import Settings
from spark_jobs.lake import Lake, spark_schema
from spark_jobs.session import spark_session

AT = datetime(2026, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    small = Settings(spark_master="local[1]", spark_driver_memory="1g", spark_shuffle_partitions=1)
    with spark_session(small, "tests") as session:
        yield session


def raw_rows(topic: str, *rows: Row) -> list[Row]:
    """Rows with what every raw record has, at offsets 0, 1, …"""
    provenance = {"schema_version": 1, "source": "test", "received_at": AT, "kafka_partition": 0, "kafka_at": AT}
    empty = dict.fromkeys(RAW_SCHEMAS[topic].names)
    return [empty | provenance | {"kafka_offset": n} | row for n, row in enumerate(rows)]


@pytest.fixture
def raw(spark: SparkSession) -> Callable[..., DataFrame]:
    """`raw("catalogue", {…}, …)`: a frame of raw records."""

    def make(topic: str, *rows: Row) -> DataFrame:
        table = pa.Table.from_pylist(raw_rows(topic, *rows), schema=RAW_SCHEMAS[topic])
        return spark.createDataFrame(table, schema=spark_schema(RAW_SCHEMAS[topic]))

    return make


@pytest.fixture
def clean(spark: SparkSession) -> Callable[..., DataFrame]:
    """`clean("editions", {…}, …)`: a frame of a clean table."""

    def make(table: str, *rows: Row) -> DataFrame:
        schema = pa.schema([field.with_nullable(True) for field in CLEAN_SCHEMAS[table]])
        return spark.createDataFrame(pa.Table.from_pylist(list(rows), schema=schema), schema=spark_schema(schema))

    return make


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """A lake in a folder."""
    return Lake(spark, f"file://{tmp_path}")


@pytest.fixture
def store_raw(tmp_path: Path) -> Callable[..., None]:
    """`store_raw("readers", {…}, …)`: write one raw file as the ingestion does."""

    def write(topic: str, *rows: Row) -> None:
        records = raw_rows(topic, *rows)
        first, last = records[0]["kafka_offset"], records[-1]["kafka_offset"]
        path = tmp_path / raw_key(topic, records[0]["kafka_partition"], first, last, "2026-01-01")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(records, schema=RAW_SCHEMAS[topic]), path)

    return write


@pytest.fixture
def raw_record() -> Callable[..., list[Row]]:
    """`raw_record("readers", {…})`: records complete with provenance."""
    return raw_rows
