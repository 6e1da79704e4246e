"""Scored pairs to clusters of nodes, on Spark: components, and in each average linkage.

Of the components that the run before knew, only those are clustered again to which a pair came, or from which one went.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.components import components
from spark_jobs.works import blocks
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.frames import in_buckets, small
from spark_jobs.works.linkage import APART, TOGETHER, VETO, linkage
from spark_jobs.works.state import State

# The component of each node that has a pair, named by its smallest node; the smallest node of its cluster; how sure it
# is one with the others, or, alone, with none.
LINKED = pa.schema([
    *(pa.field(name, pa.string()) for name in ("node", "component", "root")), pa.field("sure", pa.float64()),
])  # fmt: skip


def link(
    nodes: DataFrame,
    pairs: DataFrame,
    config: MatchConfig,
    before: State | None = None,
    changed: DataFrame | None = None,
) -> DataFrame:
    """`LINKED` of the pairs.

    Args:
        nodes: `node`, `records`.
        pairs: `a`, `b`, `p`, also several of two nodes.
        config: the bounds.
        before: its components without a changed node are kept.
        changed: `node`: those that gained or lost a pair, or are themselves changed or gone.
    """
    if before is None or changed is None:
        return _linked(nodes, strongest(pairs), config).localCheckpoint()
    touched = small(before.linked.join(changed, "node", "left_semi").select("component").distinct())
    known = before.linked.join(touched, "component", "left_semi").select("node")
    affected = small(known.union(changed).distinct())
    sides = [affected.select(F.col("node").alias(side), F.lit(True).alias(f"of_{side}")) for side in ("a", "b")]
    marked = pairs.join(sides[0], "a", "left").join(sides[1], "b", "left")
    linked = _linked(nodes, strongest(marked.where("of_a OR of_b")), config)
    kept = before.linked.join(affected, "node", "left_anti").select(*LINKED.names)
    return kept.unionByName(linked.join(affected, "node", "left_semi").select(*LINKED.names)).localCheckpoint()


def strongest(pairs: DataFrame) -> DataFrame:
    """One row a pair: what a person said stands over a veto and that over what the scorer says, apart over together."""
    p, most = F.col("p"), F.max("p")
    ruled = F.when(F.count_if(p == APART) > 0, APART).when((F.count_if(p == VETO) > 0) & (most < TOGETHER), VETO)
    return pairs.groupBy("a", "b").agg(ruled.otherwise(most).alias("p"))


def _linked(nodes: DataFrame, pairs: DataFrame, config: MatchConfig) -> DataFrame:
    """`LINKED` of all nodes with a pair over the floor.

    Clusters only join where a pair reaches the threshold, so it is enough to look for them in the components that such
    pairs make. Within these all pairs count; to others they only say how sure a node is that stands alone.
    """
    pairs = pairs.localCheckpoint()
    strong = components(pairs.where(F.col("p") >= config.threshold).select("a", "b"))
    in_component = small(strong.withColumnRenamed("root", "component"))
    persons = F.concat_ws(" ", "surname", "others")
    vertices = in_component.join(nodes.select("node", "records", persons.alias("persons")), "node").select(
        "component",
        F.col("node").alias("a"),
        F.lit(None).cast("string").alias("b"),
        F.col("records").cast("double").alias("p"),
        "persons",
    )
    of_a, of_b = (in_component.toDF(side, f"component_{side}") for side in ("a", "b"))
    edges = pairs.join(of_a, "a").join(of_b, "b").where("component_a = component_b")
    edges = edges.select(F.col("component_a").alias("component"), "a", "b", "p")
    rows = vertices.unionByName(edges, allowMissingColumns=True)
    joined = in_buckets(rows, ["component"], 4 * config.bucket_rows, lambda table: link_bucket(table, config), LINKED)
    ends = pairs.where(F.col("p") >= config.floor).select(F.explode(F.array("a", "b")).alias("node"), "p")
    best = ends.groupBy("node").agg(F.max("p").alias("best"))
    return best.join(joined, "node", "left").select(
        "node",
        *(F.coalesce(name, "node").alias(name) for name in ("component", "root")),
        F.coalesce("sure", 1 - F.col("best")).alias("sure"),
    )


def link_bucket(table: pa.Table, config: MatchConfig) -> pa.Table:
    """`LINKED` of the components of one bucket: nodes (`a`, records as `p`, `persons`) and edges (`a`, `b`, `p`).

    `sure` is null for nodes alone.
    """
    table = table.sort_by([("component", "ascending"), ("a", "ascending"), ("b", "ascending")])
    names, a, b, p, persons = (table[name].to_pylist() for name in ("component", "a", "b", "p", "persons"))
    out: list[tuple[str, str, str, float]] = []
    for rows in blocks.runs(names):
        ids = [a[i] for i in rows if b[i] is None]
        at = {node: k for k, node in enumerate(ids)}
        weights = np.array([p[i] for i in rows if b[i] is None])
        edges = [(at[a[i]], at[b[i]], p[i]) for i in rows if b[i] is not None and b[i] in at]
        left, right, value = (np.array(column) for column in zip(*edges, strict=True))
        others = [persons[i].split() for i in rows if b[i] is None]
        found, sure = linkage(weights, left, right, value, config.threshold, config.component_size, others)
        out += [(node, names[rows[0]], ids[found[k]], float(sure[k])) for k, node in enumerate(ids)]
    columns = list(zip(*out, strict=True)) or [()] * len(LINKED)
    arrays = [pa.array(values, field.type, from_pandas=True) for values, field in zip(columns, LINKED, strict=True)]
    return pa.table(arrays, schema=LINKED)
