"""Editions to works, on Spark: parse, gather equal spellings into nodes, compare within blocks, cluster.

Pure: DataFrame in, DataFrame out; no path. Of the catalogue nothing is collected but counts, votes and pieces of
bounded size (`frames`). The result depends on the rows alone: not on their order or partitions, nor on what is known
from the run before, which only saves work.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark_jobs.works.comparing import SAID, compare, over_bound
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.linkage import APART, TOGETHER
from spark_jobs.works.linking import link, strongest
from spark_jobs.works.nodes import gather, members_of
from spark_jobs.works.state import State

_SAME_SPELLING = 0.99  # how sure two records of one spelling are one work: on labelled editions .997 of pairs


@dataclass(frozen=True)
class Clustered:
    """What `cluster` found.

    Attributes:
        editions: `edition_id`, `cluster` (the smallest edition_id in it), `confidence` (0 to 1).
        cut: blocks over their bound, of which not all pairs were compared: `rule`, `key`, `nodes`.
        state: what the next clustering may start from.
        changed: share of rows in which the catalogue differs from that of the run before; 1 without one.
    """

    editions: DataFrame
    cut: DataFrame
    state: State
    changed: float = 1.0

    @property
    def parsed(self) -> DataFrame:
        """`records.PARSED` of each edition."""
        return self.state.parsed

    @property
    def pairs(self) -> DataFrame:
        """`a`, `b`, `p`: pairs of nodes, each node named by its smallest edition."""
        return strongest(self.state.pairs)

    def cut_counts(self) -> dict[str, int]:
        """How many blocks were over their bound, and how many nodes stand in them."""
        row = self.cut.agg(F.count("*").alias("blocks_cut"), F.sum("nodes").alias("nodes_in_cut_blocks")).collect()[0]
        return {name: int(n or 0) for name, n in row.asDict().items()}


def cluster(
    editions: DataFrame, config: MatchConfig, decided: Constraints | None = None, before: State | None = None
) -> Clustered:
    """The cluster of each edition.

    Args:
        editions: `records.FIELDS`, one row for each edition_id; `source` if there are several.
        config: the bounds.
        decided: what persons put together or apart.
        before: `state` of an earlier clustering with the same bounds and code; what it knows of rows that have not
            changed is not worked out again.

    Raises:
        ContractError: a column is missing.
    """
    decided = decided or Constraints([], [])
    gathered = gather(editions, config, decided, before)
    members = members_of(gathered.editions, gathered.nodes)
    compared = compare(gathered, _bonds(members, decided), config)
    linked = link(gathered.nodes, compared.pairs, config, before, compared.changed)
    state = State(gathered.editions, gathered.nodes, compared.pairs, linked)
    return Clustered(assign(members, linked), over_bound(gathered.nodes, config), state, gathered.changed)


def _bonds(members: DataFrame, decided: Constraints) -> DataFrame:
    """What persons decided of editions that are there, as `COMPARED` with `TOGETHER` or `APART` for a probability."""
    spark = members.sparkSession
    of = members.select("edition_id", "node")
    pairs = spark.createDataFrame([], "a string, b string, p double")
    if decided.together:
        rows = [(n, edition) for n, group in enumerate(decided.together) for edition in group]
        groups = spark.createDataFrame(rows, "n long, edition_id string").join(of, "edition_id")
        first = F.min("node").over(Window.partitionBy("n"))
        ties = groups.select(first.alias("a"), F.col("node").alias("b"), F.lit(TOGETHER))
        pairs = pairs.union(ties.where("a <> b").distinct())
    if decided.apart:
        rows = [(n, side, one) for n, sides in enumerate(decided.apart) for side in (0, 1) for one in sides[side]]
        both = spark.createDataFrame(rows, "n long, side int, edition_id string").join(of, "edition_id")
        x, y = (both.where(F.col("side") == side).select("n", F.col("node").alias(name)).distinct()
                for side, name in ((0, "x"), (1, "y")))  # fmt: skip
        found = x.join(y, "n").where("x <> y")
        pairs = pairs.union(found.select(F.least("x", "y"), F.greatest("x", "y"), F.lit(APART)).distinct())
    return pairs.select(F.lit(SAID).alias("rule"), F.lit("").alias("key"), "a", "b", "p")


def assign(members: DataFrame, linked: DataFrame) -> DataFrame:
    """The cluster of each edition.

    Args:
        members: from `nodes.members_of`.
        linked: `linking.LINKED`.
    """
    joined = members.join(linked.select("node", "root", "sure"), "node", "left")
    lone, unknown = F.col("records") == 1, F.col("main") == ""
    sure = F.coalesce("sure", F.when(lone, F.lit(1.0)).otherwise(F.lit(_SAME_SPELLING)))
    confidence = F.round(F.when(unknown & lone, 0.0).otherwise(F.greatest(sure, F.lit(0.0))), 4)
    # A node is named by its smallest edition, a cluster by its smallest node.
    smallest = F.coalesce("root", "node").alias("cluster")
    return joined.select("edition_id", smallest, confidence.alias("confidence"))
