"""What several jobs do with DataFrames."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from spark_jobs.lake import spark_schema

_FEW = 5  # buckets that the driver is through with before workers of Python have started
SMALL = 300_000  # rows of a few short columns, which the driver may hold


def tasks(frame: DataFrame) -> int:
    """Partitions for steps that cost much Python a row: Spark, left to itself, gathers small tables on one core."""
    return 4 * frame.sparkSession.sparkContext.defaultParallelism


def small(frame: DataFrame) -> DataFrame:
    """The frame, computed; what is small comes by way of the driver, where later steps know it and send it whole."""
    rows = frame.limit(SMALL + 1).toArrow()
    if rows.num_rows > SMALL:
        return frame.localCheckpoint()
    return local(frame, rows)


def local(frame: DataFrame, rows: pa.Table) -> DataFrame:
    """A table of the driver as a frame, in the session of another one."""
    # An empty table has no chunks, which Spark does not expect.
    batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    return frame.sparkSession.createDataFrame(pa.Table.from_batches(batches))


def table_of(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Rows as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def in_buckets(
    rows: DataFrame,
    whole: Sequence[str],
    bucket_rows: int,
    run: Callable[[pa.Table], pa.Table],
    schema: pa.Schema,
    computed: bool = False,
) -> DataFrame:
    """What `run` makes of tables of some `bucket_rows` rows; rows that agree in the columns `whole` stay together.

    With `computed` the rows are not stored first, as it costs little to make them again.
    """
    if computed:
        stored, count = rows, rows.count()
    else:
        seen = Observation()
        stored = rows.observe(seen, F.count(F.lit(1)).alias("rows")).localCheckpoint()
        count = seen.get["rows"]
    if count <= _FEW * bucket_rows:
        return local(rows, run(stored.toArrow()))
    buckets = max(4, count // bucket_rows)
    bucketed = stored.withColumn("bucket", F.pmod(F.xxhash64(*whole), F.lit(buckets)))
    spread = bucketed.repartition(min(buckets, tasks(stored)), "bucket")

    def settled(table: pa.Table) -> pa.Table:
        settle(" ".join(whole))
        return run(table)

    return spread.groupBy("bucket").applyInArrow(settled, spark_schema(schema))


@cache
def settle(step: str) -> None:
    """Once a process and step: pass over what is loaded by now when garbage is collected, as Spark does after each
    task of Python; with all that a step imports this takes a tenth of a second."""
    gc.freeze()
