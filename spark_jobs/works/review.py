"""Pairs that the scorer is not sure of, for a person to decide: those that touch most readers first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from spark_jobs.works.decisions import ReviewPair

LEAST, MOST = 0.2, 0.7  # probabilities between which a person knows better
PAIRS = 500
SHOWN = ("title", "author", "series", "year", "publisher", "language", "isbn13", "format")


def doubtful(
    clusters: DataFrame, pairs: DataFrame, editions: DataFrame, interactions: DataFrame | None
) -> Iterator[ReviewPair]:
    """The `PAIRS` pairs between `LEAST` and `MOST` whose clusters have most readers, most first.

    Args:
        clusters: `edition_id`, `cluster`.
        pairs: `a`, `b`, `p`, of `clustering.Clustered`.
        editions: columns of clean/editions.
        interactions: columns of clean/interactions; None where there are none yet.
    """
    of = clusters.select("edition_id", "cluster")
    unsure = pairs.where(F.col("p").between(LEAST, MOST))
    sides = unsure.join(of.toDF("a", "left_cluster"), "a").join(of.toDF("b", "right_cluster"), "b")
    readers = _readers(of, interactions)
    for side in ("left", "right"):
        sides = sides.join(readers.toDF(f"{side}_cluster", f"{side}_readers"), f"{side}_cluster", "left")
    known = F.coalesce("left_readers", F.lit(0)) + F.coalesce("right_readers", F.lit(0))
    doubt = F.abs(F.col("p") - 0.5)
    top = sides.withColumn("readers", known).orderBy(F.desc("readers"), doubt, "a", "b").limit(PAIRS)
    for row in with_texts(top, editions).orderBy(F.desc("readers"), doubt, "a", "b").collect():  # bounded by PAIRS
        joined = row["left_cluster"] == row["right_cluster"]
        yield ReviewPair(row["a"], row["b"], row["p"], row["readers"], *texts(row), joined)


def with_texts(pairs: DataFrame, editions: DataFrame) -> DataFrame:
    """Pairs `a`, `b` of editions with what to show of both, as JSON in `left` and `right`."""
    shown = editions.select("edition_id", F.to_json(F.struct(*SHOWN)).alias("shown"))
    return pairs.join(shown.toDF("a", "left"), "a").join(shown.toDF("b", "right"), "b")


def texts(row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to show of both sides of a row of `with_texts`."""
    return json.loads(row["left"]), json.loads(row["right"])


def _readers(of: DataFrame, interactions: DataFrame | None) -> DataFrame:
    """`cluster`, `readers`: how many readers have any of its editions."""
    if interactions is None:
        return of.select("cluster", F.lit(0).alias("readers")).limit(0)
    joined = interactions.select("edition_id", "user_id").join(of, "edition_id")
    return joined.groupBy("cluster").agg(F.count_distinct("user_id").alias("readers"))
