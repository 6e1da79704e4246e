"""Clean lake tables to Postgres, schema raw: `python -m spark_jobs.lake_to_warehouse`.

In: clean/*. Out: raw.editions, raw.edition_works, raw.works, raw.authors, raw.series, raw.work_history,
raw.interactions, raw.readers, each with `loaded_at`.

Spark writes over JDBC into tables beside them; then one transaction empties and fills them all,
so a reader sees the old state or the new one, of every table, and views that depend on them stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bookworks.adapters import postgres
from bookworks.clock import now
from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.contracts.warehouse import RAW, RAW_TABLES, SCHEMAS
from bookworks.errors import ContractError, TransientError
from bookworks.settings import Settings
from spark_jobs.job import Counter, run_job
from spark_jobs.lake import Lake, conform
from spark_jobs.works import verdicts

LOAD_LOCK = 7_207_001  # key of the advisory lock that one load holds
LOCK_TIMEOUT = "120s"  # how long the swap waits for a dbt run that reads the old rows
POSTGRES_TYPES: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.int32(): "integer",
    pa.float64(): "double precision",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.list_(pa.string()): "text[]",
}


def with_loaded_at(frame: DataFrame, loaded_at: datetime) -> DataFrame:
    """`frame` with the time of this load, the same in every row of every table."""
    return frame.withColumn("loaded_at", F.lit(loaded_at))


def columns_ddl(schema: pa.Schema) -> sql.Composed:
    """The column definitions of a raw table."""
    columns = [sql.SQL("{}{}").format(_column(one), sql.SQL("" if one.nullable else " not null")) for one in schema]
    return sql.SQL(", ").join([*columns, sql.SQL("loaded_at timestamptz not null")])


def _column(field: pa.Field) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(POSTGRES_TYPES[field.type]))


@contextmanager
def load_lock(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection that holds the lock of the load.

    Raises:
        TransientError: another load holds it, or Postgres is away.
    """
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        row = db.execute("select pg_try_advisory_lock(%s)", (LOAD_LOCK,)).fetchone()
        if not row or not row[0]:
            raise TransientError("Another load of the warehouse is running", todo="wait until it has ended.")
        yield db


def prepare(db: psycopg.Connection[Any]) -> None:
    """Make the schemas, the raw tables and columns where they are missing, and an empty table beside each."""
    for schema in SCHEMAS:
        db.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    for table in RAW_TABLES:
        ddl = columns_ddl(CLEAN_SCHEMAS[table])
        db.execute(sql.SQL("create table if not exists {} ({})").format(sql.Identifier(RAW, table), ddl))
        added = [sql.SQL("add column if not exists {}").format(_column(field)) for field in CLEAN_SCHEMAS[table]]
        db.execute(sql.SQL("alter table {} {}").format(sql.Identifier(RAW, table), sql.SQL(", ").join(added)))
        db.execute(sql.SQL("drop table if exists {}").format(_incoming(table)))
        db.execute(sql.SQL("create unlogged table {} ({})").format(_incoming(table), ddl))


def swap(db: psycopg.Connection[Any], expected: dict[str, int]) -> None:
    """Empty each raw table and fill it from the one beside it, all in one transaction.

    Args:
        db: connection that holds the load's lock.
        expected: rows that were sent, per table.

    Raises:
        ContractError: rows were lost or doubled on the way; nothing has changed then.
        TransientError: a reader kept its lock for longer than `LOCK_TIMEOUT`.
    """
    try:
        with db.transaction():
            db.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            for table in RAW_TABLES:
                _fill(db, table, expected[table])
    except psycopg.errors.LockNotAvailable:
        raise TransientError(
            "A reader of the warehouse did not let go of the raw tables",
            received=f"waited {LOCK_TIMEOUT}",
            todo="look for long queries in pg_stat_activity, then run the job again.",
        ) from None
    for table in RAW_TABLES:
        db.execute(sql.SQL("drop table {}").format(_incoming(table)))
        db.execute(sql.SQL("analyze {}").format(sql.Identifier(RAW, table)))


def _fill(db: psycopg.Connection[Any], table: str, expected: int) -> None:
    target = sql.Identifier(RAW, table)
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in [*CLEAN_SCHEMAS[table].names, "loaded_at"])
    db.execute(sql.SQL("truncate {}").format(target))
    insert = sql.SQL("insert into {} ({}) select {} from {}").format(target, columns, columns, _incoming(table))
    stored = db.execute(insert).rowcount
    if stored != expected:
        raise ContractError(
            f"Rows of {table} were lost or doubled on the way",
            received=stored,
            allowed=str(expected),
            todo="run again.",
        )


def _incoming(table: str) -> sql.Identifier:
    return sql.Identifier(RAW, f"{table}__incoming")


def send(frame: DataFrame, table: str, settings: Settings) -> None:
    """Append `frame` to the table beside a raw table, over JDBC, one transaction per partition."""
    options = {
        "url": f"jdbc:postgresql://{settings.postgres_host}:{settings.postgres_port}/{settings.warehouse_db}",
        "driver": "org.postgresql.Driver",
        "dbtable": f"{RAW}.{table}__incoming",
        "user": settings.postgres_user,
        "password": settings.postgres_password.get_secret_value(),
        "batchsize": "5000",
        "reWriteBatchedInserts": "true",
    }
    frame.write.format("jdbc").options(**options).mode("append").save()


def run(lake: Lake, settings: Settings) -> dict[str, int]:
    """Read, write, swap; returns the rows of each table.

    Raises:
        TerminalError: the works were refused (`spark_jobs.evaluate_works`), and nobody accepted them.
        TransientError: they were not measured yet.
    """
    verdicts.check_not_refused(settings, lake.version("edition_works"))
    counter = Counter()
    loaded_at = now()
    with load_lock(settings) as db:
        prepare(db)
        for table in RAW_TABLES:
            frame = conform(lake.read_clean(table), CLEAN_SCHEMAS[table])
            counter_in = counter.watch(with_loaded_at(frame, loaded_at), **{table: True})
            send(counter_in, table, settings)
        swap(db, counter.counts())
    return {f"{table}_rows": rows for table, rows in counter.counts().items()}


def main() -> None:
    """Entry point of the job."""
    run_job("lake_to_warehouse", run)


if __name__ == "__main__":
    main()
