"""Editions to nodes, on Spark: each edition taken apart, equal spellings gathered. What the run before did is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_jobs.lake import require_columns, spark_schema
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.frames import differing, small, tasks
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import FIELDS, PARSED, parse_batches
from spark_jobs.works.state import COUNTED, NODES, State

_VOTES = pa.schema([pa.field("source", pa.string()), pa.field("votes", pa.int64())])
_SPELLING = ("surname", "given", "main", "subtitle", "volume", "series_number", "kind")
_ONE = ["edition_id", "fingerprint"]
_MOST_VALUES = 6
_MOST_ISBNS = 200
_COUNTED_EXACTLY = 8  # nodes or records of an author; more of them are rounded to halves of a doubling
_ALONE = "\u0000"  # begins what an edition is spelled like that is a node by itself


@dataclass(frozen=True)
class Since:
    """What moved since an earlier run.

    Attributes:
        before: what that run left.
        came, went: `NODES` that it did not have so, and those that it had otherwise.
    """

    before: State
    came: DataFrame
    went: DataFrame


@dataclass(frozen=True)
class Gathered:
    """Editions and nodes.

    Attributes:
        editions: `records.PARSED` of each edition and what it is `spelled` like.
        nodes: `NODES`, one row for each spelling.
        since: what is new against the run before; None: all is.
        changed: share of the rows that the run before did not have so, or that are gone; 1 without one.
    """

    editions: DataFrame
    nodes: DataFrame
    since: Since | None = None
    changed: float = 1.0


def gather(
    editions: DataFrame, config: MatchConfig, decided: Constraints | None = None, before: State | None = None
) -> Gathered:
    """Take each edition apart and gather equal spellings; how names are written is put to the vote in each `source`.

    Args:
        editions: `records.FIELDS`, one row for each edition_id; `source` if there are several.
        config: its aliases and bounds.
        decided: what persons put together or apart.
        before: what it holds of rows that have not changed is not worked out again.

    Raises:
        ContractError: a column is missing.
    """
    decided = decided or Constraints([], [])
    if before is not None:
        rows = _with_fingerprint(editions)
        moved = small(differing(rows, before.parsed, *_ONE))
        changed = moved.select("edition_id").distinct().count() / max(before.parsed.count(), 1)
        if changed <= config.most_changed:
            return _gather_again(rows, moved, config, decided, before, changed)
    parsed = spelled(parse(editions, config), decided).localCheckpoint()
    return Gathered(parsed, nodes_of(parsed, config).localCheckpoint())


def parse(editions: DataFrame, config: MatchConfig) -> DataFrame:
    """`records.PARSED` of each edition; arguments and errors as of `gather`."""
    rows = _with_fingerprint(editions)
    return _parsed(rows, _inverted(_votes(rows)), config)


def _with_fingerprint(editions: DataFrame) -> DataFrame:
    require_columns(editions, FIELDS, "the catalogue")
    source = F.col("source") if "source" in editions.columns else F.lit("")
    return editions.select(*FIELDS, source.alias("source"), _digest(*FIELDS, source).alias("fingerprint"))


def _digest(*columns: str | Column) -> Column:
    texts = [F.col(one) if isinstance(one, str) else one for one in columns]
    return F.xxhash64(*(F.coalesce(one.cast("string"), F.lit("\u0000")) for one in texts))  # it passes over nulls


def _parsed(rows: DataFrame, inverted: frozenset[str], config: MatchConfig) -> DataFrame:
    # Taking titles and names apart needs Python; Arrow hands over whole columns.
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return parse_batches(batches, inverted, Aliases(config.aliases))

    return rows.repartition(tasks(rows), "edition_id").mapInArrow(run, spark_schema(PARSED))


def _votes(rows: DataFrame) -> DataFrame:
    """`source`, `votes`: how many names more are written "Surname, Given" than are not."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts: Counter[str] = Counter()
            for source, author in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                counts[source] += names_are_inverted(author)
            yield pa.RecordBatch.from_pydict({"source": list(counts), "votes": list(counts.values())}, schema=_VOTES)

    return rows.select("source", "author").mapInArrow(run, spark_schema(_VOTES))


def _inverted(votes: DataFrame) -> frozenset[str]:
    """The sources, few as they are, in which most names are written "Surname, Given"."""
    return frozenset(row[0] for row in votes.groupBy("source").agg(F.sum("votes").alias("n")).where("n > 0").collect())


def spelled(parsed: DataFrame, decided: Constraints) -> DataFrame:
    """The editions with what they are `spelled` like; those spelled alike are one node.

    An edition without an author or a title is a node by itself: it matches nobody by what it lacks. So is one that
    a person set apart.
    """
    alone = ~_told() | _set_apart(decided)
    spelling = F.concat_ws("\u0001", *_SPELLING)
    return parsed.withColumn("spelled", F.when(alone, F.concat(F.lit(_ALONE), F.col("edition_id"))).otherwise(spelling))


def _told() -> Column:
    return (F.col("surname") != "") & (F.col("main") != "")


def _set_apart(decided: Constraints) -> Column:
    return F.col("edition_id").isin(sorted({one for sides in decided.apart for side in sides for one in side}))


def nodes_of(editions: DataFrame, config: MatchConfig) -> DataFrame:
    """`NODES` of editions that are `spelled`."""
    return _counted(_gathered(editions), config)


def _gathered(editions: DataFrame) -> DataFrame:
    """`NODES` without `COUNTED`."""
    values = [_values(name).alias(f"{name}s") for name in ("publisher", "year")]
    return editions.groupBy("spelled").agg(
        F.min("edition_id").alias("node"),
        *(F.first(name).alias(name) for name in _SPELLING),
        *(F.array_join(_values(name), " ").alias(alias) for name, alias in
          (("series", "series"), ("others", "others"), ("language", "languages"))),
        F.min("guess").alias("guess"),
        *values,
        F.slice(F.array_sort(F.array_distinct(F.flatten(F.collect_list("isbns")))), 1, _MOST_ISBNS).alias("isbns"),
        F.count("*").alias("records"),
    )  # fmt: skip


def _values(name: str) -> Column:
    """The distinct values that say something, sorted, a few of them."""
    return F.slice(F.array_sort(F.collect_set(F.when(F.col(name) != "", F.col(name)))), 1, _MOST_VALUES)


def _counted(nodes: DataFrame, config: MatchConfig) -> DataFrame:
    """`NODES` of all nodes with some surnames: how many nodes and records the author has, which block that makes.

    The counts are rounded, so that one book more of a prolific author does not change the likeness of all others.
    """
    known = F.col("surname") != ""
    surname = F.when(known, F.col("surname")).otherwise(F.col("node"))  # all that lack one are no group
    author = Window.partitionBy(surname, F.left("given", F.lit(1)))
    crowded = F.count("*").over(Window.partitionBy(surname)) > config.block_size
    initial = F.concat_ws("|", "surname", F.left("given", F.lit(1)))
    counted = nodes.withColumns({
        "author_nodes": F.when(known, _rounded(F.count("*").over(author))).otherwise(1.0),
        "author_records": F.when(known, _rounded(F.sum("records").over(author))).otherwise(1.0),
        "author_key": F.when(known & crowded, initial).otherwise(F.col("surname")),
    })  # fmt: skip
    told = [name for name in NODES.names if name != "stamp"]
    return counted.withColumn("stamp", _digest(*told)).select(*NODES.names)


def _rounded(count: Column) -> Column:
    return F.when(count <= _COUNTED_EXACTLY, count.cast("double")).otherwise(F.pow(2.0, F.round(F.log2(count) * 2) / 2))


def members_of(editions: DataFrame, nodes: DataFrame) -> DataFrame:
    """The node of each edition: `edition_id`, `main`, `node`, `records` of it."""
    return (
        editions.select("edition_id", "spelled", "main")
        .join(nodes.select("spelled", "node", "records"), "spelled")
        .drop("spelled")
    )


def _gather_again(
    rows: DataFrame, moved: DataFrame, config: MatchConfig, decided: Constraints, before: State, changed: float
) -> Gathered:
    """As `gather`, for the rows that moved (`_ONE`: new or gone), what they were beside, and nothing else."""
    standing = before.parsed.join(moved, _ONE, "left_anti")
    cast = standing.groupBy("source").agg(F.sum("vote").alias("votes"))
    inverted = _inverted(_votes(rows.join(moved, _ONE, "left_semi")).unionByName(cast))
    was_apart = F.col("spelled").startswith(_ALONE) & _told()
    otherwise = (F.col("inverted") != F.col("source").isin(sorted(inverted))) | (was_apart != _set_apart(decided))
    anew = small(moved.unionByName(standing.where(otherwise).select(*_ONE)))

    fresh = spelled(_parsed(rows.join(anew, _ONE, "left_semi"), inverted, config), decided).localCheckpoint()
    editions = before.parsed.join(anew, _ONE, "left_anti").unionByName(fresh)
    gone = before.parsed.join(anew, _ONE, "left_semi").select("spelled", "surname")
    touched = gone.unionByName(fresh.select("spelled", "surname")).localCheckpoint()
    spellings, surnames = (
        small(touched.where(F.col(name) != "").select(name, F.lit(True).alias(f"{name}_touched")).distinct())
        for name in ("spelled", "surname")
    )
    marked = before.nodes.join(spellings, "spelled", "left").join(surnames, "surname", "left")
    same = marked.where("spelled_touched IS NULL AND surname_touched IS NULL").select(*NODES.names)
    old = marked.where("spelled_touched OR surname_touched").localCheckpoint()
    kept = old.where("spelled_touched IS NULL").select(*(name for name in NODES.names if name not in COUNTED))
    made = _gathered(editions.join(spellings, "spelled", "left_semi"))
    new = _counted(kept.unionByName(made), config).localCheckpoint()
    names = small(differing(new, old, "node", "stamp"))
    came, went = (side.select(*NODES.names).join(names, ["node", "stamp"], "left_semi") for side in (new, old))
    since = Since(before, came.localCheckpoint(), went.localCheckpoint())
    return Gathered(editions, same.unionByName(new), since, changed)
