"""Two catalogues to the pairs of their records that are one work, on Spark."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.works.clustering import cluster
from spark_jobs.works.config import MatchConfig


def match(left: DataFrame, right: DataFrame, config: MatchConfig) -> DataFrame:
    """Pairs of records, one of each catalogue, that are one work.

    Args:
        left, right: `records.FIELDS`, ids unique within each.
        config: the bounds.

    Returns:
        `left_id`, `right_id`, `probability`: how sure the less sure of both stands in their common work.
    """
    sides = [
        frame.withColumns({"edition_id": F.concat(F.lit(mark), "edition_id"), "source": F.lit(mark)})
        for frame, mark in ((left, "l"), (right, "r"))
    ]
    placed = cluster(sides[0].unionByName(sides[1]), config).editions.localCheckpoint()
    side, own = F.left("edition_id", F.lit(1)), F.substring("edition_id", 2, 1_000_000)
    one, other = (
        placed.where(side == mark).select("cluster", own.alias(f"{name}_id"), F.col("confidence").alias(f"{name}_sure"))
        for mark, name in (("l", "left"), ("r", "right"))
    )
    probability = F.least("left_sure", "right_sure").alias("probability")
    return one.join(other, "cluster").select("left_id", "right_id", probability)
