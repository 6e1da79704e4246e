"""What several steps of works do with DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.lake import spark_schema

_SMALL = 1_000_000  # rows of a few short columns


def tasks(frame: DataFrame) -> int:
    """Partitions for steps that cost much Python a row: Spark, left to itself, gathers small tables on one core."""
    return 4 * frame.sparkSession.sparkContext.defaultParallelism


def differing(new: DataFrame, old: DataFrame, *columns: str) -> DataFrame:
    """The rows, as to these columns, that only one of both frames has, each once."""
    signed = new.select(*columns, F.lit(1).alias("sign")).unionByName(old.select(*columns, F.lit(-1).alias("sign")))
    return signed.groupBy(*columns).agg(F.sum("sign").alias("sign")).where("sign <> 0").drop("sign")


def small(frame: DataFrame) -> DataFrame:
    """The frame, computed; if it is small, joins send it whole to where the other side is."""
    computed = frame.localCheckpoint()
    return F.broadcast(computed) if computed.limit(_SMALL + 1).count() <= _SMALL else computed


def in_buckets(
    rows: DataFrame, whole: Sequence[str], bucket_rows: int, run: Callable[[pa.Table], pa.Table], schema: pa.Schema
) -> DataFrame:
    """What `run` makes of tables of some `bucket_rows` rows; rows that agree in the columns `whole` stay together."""
    stored = rows.localCheckpoint()
    buckets = max(4, stored.count() // bucket_rows)
    bucket = F.pmod(F.xxhash64(*whole), F.lit(buckets))
    bucketed = stored.withColumn("bucket", bucket).repartition(tasks(stored), "bucket")
    return bucketed.groupBy("bucket").applyInArrow(run, spark_schema(schema))
