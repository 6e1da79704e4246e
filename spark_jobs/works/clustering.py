"""Editions to works, on Spark: parse, gather equal spellings into nodes, compare within blocks, cluster.

Pure: DataFrame in, DataFrame out; no path. Of the catalogue nothing is collected but counts, votes and pieces of
bounded size (`frames`). The result depends on the rows alone: not on their order or partitions, nor on what is known
from the run before, which only saves work.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.frames import local
from spark_jobs.works.comparing import bonds, compare, named, over_bound, standing
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.delta import changes
from spark_jobs.works.kept import KeptFrames, after
from spark_jobs.works.linking import SAME_SPELLING, link, rounded, strongest
from spark_jobs.works.nodes import gather, members_of, with_fingerprint
from spark_jobs.works.state import State


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
    changed = changes(KeptFrames(before, with_fingerprint(editions)), config, decided) if before else None
    if before and changed:
        state, share = after(before, changed), changed.share
    else:
        state, share = _whole(editions, config, decided), 1.0
    found = assign(members_of(state.parsed, state.nodes), state.linked)
    return Clustered(found, over_bound(state.standing, config), state, share)


def _whole(editions: DataFrame, config: MatchConfig, decided: Constraints) -> State:
    parsed, nodes = gather(editions, config, decided)
    asked = parsed.where(F.col("edition_id").isin(sorted(named(decided)))) if named(decided) else parsed.limit(0)
    members = members_of(asked, nodes).select("edition_id", "node").collect()  # those that persons named
    said = local(nodes, bonds(decided, {row["edition_id"]: row["node"] for row in members}))
    stood = standing(nodes).localCheckpoint()
    pairs = compare(nodes, stood, said, config)
    return State(parsed, nodes, stood, pairs, link(nodes, pairs, config))


def assign(members: DataFrame, linked: DataFrame) -> DataFrame:
    """The cluster of each edition.

    Args:
        members: from `nodes.members_of`.
        linked: `linking.LINKED`.
    """
    joined = members.join(linked.select("node", "root", "sure"), "node", "left")
    lone = F.col("records") == 1
    unknown = (F.col("main") == "") & F.col("sure").isNull()
    sure = F.coalesce("sure", F.when(lone, F.lit(1.0)).otherwise(F.lit(SAME_SPELLING)))
    confidence = rounded(F.when(unknown & lone, 0.0).otherwise(F.greatest(sure, F.lit(0.0))), F.floor)
    # A node is named by its smallest edition, a cluster by its smallest node.
    smallest = F.coalesce("root", "node").alias("cluster")
    return joined.select("edition_id", smallest, confidence.alias("confidence"))
