"""Connected components of a graph given by its edges, on Spark, without collecting anything on the driver.

Source: Kiveris et al., Connected Components in MapReduce and Beyond, SoCC 2014 (alternating
large-star and small-star): O(log^2 n) rounds, in each the number of edges does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Observation, Window
from pyspark.sql import functions as F
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bookworks.errors import TerminalError
from spark_jobs.frames import local

MAX_ROUNDS = 40
_NODES = pa.schema([("node", pa.string()), ("root", pa.string())])
_ON_DRIVER = 100_000  # edges; so few are done before a worker of Python has started
IN_ONE_TASK = 1_000_000  # edges; so few are done sooner by one task than by rounds over all of them


def components(edges: DataFrame) -> DataFrame:
    """The component of each node that has an edge.

    Args:
        edges: columns `a`, `b` (names of nodes), in any direction, repeats allowed.

    Returns:
        `node`, `root`: the smallest node of its component; roots themselves are included.

    Raises:
        TerminalError: no fixed point after `MAX_ROUNDS` rounds.
    """
    stars, mark = _settle(_directed(edges).distinct())
    if mark["edges"] <= _ON_DRIVER:
        return local(edges, components_of(stars.toArrow()))
    if mark["edges"] <= IN_ONE_TASK:
        return stars.coalesce(1).mapInArrow(_of_one_task, "node string, root string")
    for _ in range(MAX_ROUNDS):
        before = mark
        stars, mark = _settle(_small_star(_large_star(stars)))
        if mark == before:
            leaves = stars.select(F.col("a").alias("node"), F.col("b").alias("root"))
            return leaves.union(leaves.select("root", "root").distinct())
    raise TerminalError("Connected components did not settle", received=f"{MAX_ROUNDS} rounds", todo="report it.")


def _of_one_task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    edges = list(batches)
    if edges:
        yield from components_of(pa.Table.from_batches(edges)).to_batches()


def components_of(edges: pa.Table) -> pa.Table:
    """`components` of edges that fit in memory."""
    if not edges.num_rows:
        return _NODES.empty_table()
    nodes = pc.unique(pa.chunked_array([*edges["a"].chunks, *edges["b"].chunks])).sort()
    a, b = (pc.index_in(edges[side], nodes).to_numpy() for side in ("a", "b"))
    graph = sparse.coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(len(nodes), len(nodes)))
    labels = connected_components(graph, directed=False)[1]
    first = np.full(labels.max() + 1, len(nodes))
    np.minimum.at(first, labels, np.arange(len(nodes)))
    return pa.table([nodes, nodes.take(pa.array(first[labels]))], schema=_NODES)


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


def _settle(stars: DataFrame) -> tuple[DataFrame, dict[str, Any]]:
    """The edges, computed, with their number and an order-free checksum: equal when nothing changed."""
    seen = Observation()
    checksum = F.sum(F.xxhash64("a", "b").cast("decimal(38,0)"))
    computed = stars.observe(seen, F.count(F.lit(1)).alias("edges"), checksum.alias("checksum")).localCheckpoint()
    return computed, seen.get
