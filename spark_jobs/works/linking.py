"""Scored pairs to clusters of nodes: components, and in each average linkage; on Spark, and of tables by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.components import components, components_of
from spark_jobs.frames import in_buckets, small, table_of
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.linkage import APART, TOGETHER, VETO, linkage
from spark_jobs.works.pairs import codes

# The component of each node that has a pair, named by its smallest node; the smallest node of its cluster; how sure it
# is one with the others, or, alone, with none.
LINKED = pa.schema([
    *(pa.field(name, pa.string()) for name in ("node", "component", "root")), pa.field("sure", pa.float64()),
])  # fmt: skip
# What linkage is made of, names as numbers, for a component may have millions of edges: nodes (number `a`, `p` their
# records) and edges (numbers `a` and `b`, `p` their probability), each with the number of its component.
_LINK_ROWS = pa.schema([
    *(pa.field(name, pa.int64()) for name in ("group", "a", "b")), pa.field("p", pa.float64()),
    *(pa.field(name, pa.string()) for name in ("component", "node", "persons")),
])  # fmt: skip

SAME_SPELLING = 0.99  # how sure two records of one spelling are one work: on labelled editions .997 of pairs


def rounded(value: Any, floor: Callable[[Any], Any]) -> Any:
    """To four places, in the same way in Spark and numpy, whose own rounding differs."""
    return floor(value * 10_000.0 + 0.5) / 10_000.0


def strongest(pairs: DataFrame) -> DataFrame:
    """One row a pair: what a person said stands over a veto and that over what the scorer says, apart over together."""
    p, most = F.col("p"), F.max("p")
    ruled = F.when(F.count_if(p == APART) > 0, APART).when((F.count_if(p == VETO) > 0) & (most < TOGETHER), VETO)
    return pairs.groupBy("a", "b").agg(ruled.otherwise(most).alias("p"))


def link(nodes: DataFrame, pairs: DataFrame, config: MatchConfig) -> DataFrame:
    """`LINKED` of all nodes with a pair over the floor.

    Clusters only join where a pair reaches the threshold, so it is enough to look for them in the components that such
    pairs make. Within these all pairs count; to others they only say how sure a node is that stands alone.

    Args:
        nodes: `NODES`.
        pairs: `a`, `b`, `p`, also several of two nodes.
        config: the bounds.
    """
    pairs = strongest(pairs).localCheckpoint()
    strong = components(pairs.where(F.col("p") >= config.threshold).select("a", "b"))
    in_component = small(strong.withColumnRenamed("root", "component"))
    vertices = in_component.join(nodes, "node").select(
        F.xxhash64("component").alias("group"), F.xxhash64("node").alias("a"), F.lit(None).cast("long").alias("b"),
        F.col("records").cast("double").alias("p"), "component", "node",
        F.concat_ws(" ", "surname", "others").alias("persons"),
    )  # fmt: skip
    of_a, of_b = (in_component.toDF(side, f"component_{side}") for side in ("a", "b"))
    edges = pairs.join(of_a, "a").join(of_b, "b").where("component_a = component_b")
    edges = edges.select(
        F.xxhash64("component_a").alias("group"), *(F.xxhash64(side).alias(side) for side in ("a", "b")), "p"
    )
    rows = vertices.unionByName(edges, allowMissingColumns=True)
    joined = in_buckets(rows, ["group"], 4 * config.bucket_rows, lambda table: link_bucket(table, config), LINKED)
    ends = pairs.where(F.col("p") >= config.floor).select(F.explode(F.array("a", "b")).alias("node"), "p")
    best = ends.groupBy("node").agg(F.max("p").alias("best"))
    return (
        best.join(joined, "node", "left")
        .select(
            "node",
            *(F.coalesce(name, "node").alias(name) for name in ("component", "root")),
            F.coalesce("sure", 1 - F.col("best")).alias("sure"),
        )
        .localCheckpoint()
    )


def link_tables(nodes: pa.Table, pairs: pa.Table, config: MatchConfig) -> pa.Table:
    """As `link`, of tables that fit in memory."""
    pairs = _strongest(pairs)
    strong = components_of(pairs.filter(pc.field("p") >= config.threshold))
    component = dict(zip(*_columns(strong, "node", "root"), strict=True))
    known = nodes.filter(pc.is_in(nodes["node"], pa.array(component, pa.string())))
    number = {name: k for k, name in enumerate(component)}  # roots are nodes too
    rows: list[tuple[int, int, int | None, float, str | None, str | None, str | None]] = [
        (number[component[node]], number[node], None, float(records), component[node], node, f"{surname} {others}")
        for node, records, surname, others in zip(*_columns(known, "node", "records", "surname", "others"), strict=True)
    ]
    best: dict[str, float] = {}
    for a, b, p in zip(*_columns(pairs, "a", "b", "p"), strict=True):
        if a in component and component[a] == component.get(b):
            rows.append((number[component[a]], number[a], number[b], p, None, None, None))
        if p >= config.floor:
            best |= {node: max(p, best.get(node, p)) for node in (a, b)}
    joined = link_bucket(table_of(rows, _LINK_ROWS), config)
    found = {row["node"]: row for row in joined.to_pylist()}
    alone = {"component": None, "root": None, "sure": None}
    linked = [{"node": node} | found.get(node, alone) for node in best]
    return pa.Table.from_pylist(
        [
            row | {name: row[name] or row["node"] for name in ("component", "root")}
            | {"sure": 1 - best[row["node"]] if row["sure"] is None else row["sure"]}
            for row in linked
        ],
        LINKED,
    )  # fmt: skip


def _strongest(pairs: pa.Table) -> pa.Table:
    """As `strongest`, of a table."""
    found = pairs.group_by(["a", "b"]).aggregate([("p", "min"), ("p", "max")])
    least, most = found["p_min"].to_numpy(), found["p_max"].to_numpy()
    ruled = np.where(least == APART, APART, np.where((least == VETO) & (most < TOGETHER), VETO, most))
    return pa.table({"a": found["a"], "b": found["b"], "p": ruled})


def _columns(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def link_bucket(table: pa.Table, config: MatchConfig) -> pa.Table:
    """`LINKED` of the components of one bucket (`_LINK_ROWS`).

    `sure` is null for nodes alone.
    """
    nodes = table.filter(pc.is_null(table["b"])).sort_by([("component", "ascending"), ("node", "ascending")])
    edges = table.filter(pc.is_valid(table["b"]))
    ids = nodes["node"].combine_chunks()
    a, b = (pc.index_in(edges[side], nodes["a"]).to_numpy() for side in ("a", "b"))
    persons = [text.split() for text in nodes["persons"].to_pylist()]
    roots, sure = linkage(
        nodes["p"].to_numpy(), a, b, edges["p"].to_numpy(), config.threshold, config.component_size, persons,
        codes(nodes["component"].to_pylist()),
    )  # fmt: skip
    columns = [ids, nodes["component"], ids.take(pa.array(roots)), pa.array(sure, from_pandas=True)]
    return pa.table(columns, schema=LINKED)
