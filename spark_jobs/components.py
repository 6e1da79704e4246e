"""Connected components of a graph given by its edges, on Spark, without collecting anything.

Source: Kiveris et al., Connected Components in MapReduce and Beyond, SoCC 2014 (alternating
large-star and small-star): O(log^2 n) rounds, in each the number of edges does not grow.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Observation, Window
from pyspark.sql import functions as F

from bookworks.errors import TerminalError

MAX_ROUNDS = 40


def components(edges: DataFrame) -> DataFrame:
    """The component of each node that has an edge.

    Args:
        edges: columns `a`, `b` (nodes of one orderable type), in any direction, repeats allowed.

    Returns:
        `node`, `root`: the smallest node of its component; roots themselves are included.

    Raises:
        TerminalError: no fixed point after `MAX_ROUNDS` rounds.
    """
    stars, mark = _settle(_directed(edges).distinct())
    for _ in range(MAX_ROUNDS):
        before = mark
        stars, mark = _settle(_small_star(_large_star(stars)))
        if mark == before:
            leaves = stars.select(F.col("a").alias("node"), F.col("b").alias("root"))
            return leaves.union(leaves.select("root", "root").distinct())
    raise TerminalError("Connected components did not settle", received=f"{MAX_ROUNDS} rounds", todo="report it.")


def _directed(edges: DataFrame) -> DataFrame:
    """Each edge from its larger node `a` to its smaller node `b`, without loops."""
    return edges.where("a <> b").select(F.greatest("a", "b").alias("a"), F.least("a", "b").alias("b"))


def _large_star(stars: DataFrame) -> DataFrame:
    """Tie each node's larger neighbours to the smallest node of its neighbourhood."""
    both = stars.union(stars.select("b", "a"))
    lowest = F.least(F.min("b").over(Window.partitionBy("a")), F.col("a"))
    hubs = both.withColumn("m", lowest).where("b > a").select(F.col("b").alias("a"), F.col("m").alias("b"))
    return hubs.distinct()


def _small_star(stars: DataFrame) -> DataFrame:
    """Tie each node and its smaller neighbours to the smallest of them."""
    lowest = F.min("b").over(Window.partitionBy("a"))
    tied = stars.withColumn("m", lowest)
    return _directed(tied.select(F.col("a"), F.col("m").alias("b")).union(tied.select("b", "m"))).distinct()


def _settle(stars: DataFrame) -> tuple[DataFrame, dict[str, object]]:
    """The edges, computed, with their number and an order-free checksum: equal when nothing changed."""
    seen = Observation()
    checksum = F.sum(F.xxhash64("a", "b").cast("decimal(38,0)"))
    computed = stars.observe(seen, F.count(F.lit(1)).alias("edges"), checksum.alias("checksum")).localCheckpoint()
    return computed, seen.get
