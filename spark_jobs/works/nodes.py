"""Editions to nodes, on Spark: each edition taken apart, equal spellings gathered. What the run before did is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_jobs.lake import require_columns, spark_schema
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.frames import differing, tasks
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import FIELDS, PARSED, parse_batches
from spark_jobs.works.state import AUTHOR_COUNTS, NODES, State

_VOTES = pa.schema([pa.field("source", pa.string()), pa.field("votes", pa.int64())])
_SPELLING = ("surname", "given", "main", "subtitle", "volume", "series_number", "kind")
_MOST_VALUES = 6
_MOST_ISBNS = 200
_COUNTED_EXACTLY = 8  # nodes or records of an author; more of them are rounded to quarters of a doubling


def parse(editions: DataFrame, config: MatchConfig, before: State | None = None) -> DataFrame:
    """`records.PARSED` of each edition; how names are written is put to the vote in each `source`.

    Args:
        editions: `records.FIELDS`, one row for each edition_id; `source` if there are several.
        config: its aliases.
        before: what it holds of an unchanged row is not worked out again.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(editions, FIELDS, "the catalogue")
    source = F.col("source") if "source" in editions.columns else F.lit("")
    filled = [F.coalesce(name, F.lit("\u0000")) for name in FIELDS]  # a hash passes over nulls
    rows = editions.select(*FIELDS, source.alias("source"), F.xxhash64(*filled, source).alias("fingerprint"))
    one = ["edition_id", "fingerprint"]
    if before is None:
        return _parsed(rows, _inverted(_votes(rows)), config).localCheckpoint()
    known = before.parsed.join(rows.select(*one), one, "left_semi").localCheckpoint()
    cast = known.groupBy("source").agg(F.sum("vote").alias("votes"))
    inverted = _inverted(_votes(rows.join(known.select(*one), one, "left_anti")).unionByName(cast))
    kept = known.where(F.col("inverted") == F.col("source").isin(sorted(inverted))).drop("spelled")
    fresh = _parsed(rows.join(kept.select(*one), one, "left_anti"), inverted, config)
    return kept.unionByName(fresh).localCheckpoint()


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


def gather(parsed: DataFrame, decided: Constraints, before: State | None = None) -> tuple[DataFrame, DataFrame]:
    """The editions with what they are `spelled` like, and the nodes (`NODES`).

    A node is all editions of one author under one spelling of one title. An edition without an author or a title
    is a node by itself: it matches nobody by what it lacks. So is one that a person set apart.

    Args:
        parsed: from `parse`.
        decided: what persons put together or apart.
        before: nodes whose editions are the same are not made again.
    """
    alone = (F.col("surname") == "") | (F.col("main") == "") | F.col("edition_id").isin(_set_apart(decided))
    spelled = F.when(alone, F.concat(F.lit("\u0000"), F.col("edition_id"))).otherwise(F.concat_ws("\u0001", *_SPELLING))
    editions = parsed.withColumn("spelled", spelled)
    if before is None:
        nodes = _nodes(editions)
    else:
        moved = differing(editions, before.parsed, "edition_id", "fingerprint", "inverted", "spelled")
        changed = moved.select("spelled").distinct().localCheckpoint()
        kept = before.nodes.join(changed, "spelled", "left_anti").drop(*AUTHOR_COUNTS)
        nodes = kept.unionByName(_nodes(editions.join(changed, "spelled", "left_semi")))
    return editions, _with_author_counts(nodes).select(*NODES.names).localCheckpoint()


def _nodes(editions: DataFrame) -> DataFrame:
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


def _with_author_counts(nodes: DataFrame) -> DataFrame:
    """`AUTHOR_COUNTS`: nodes and records of the author, which are rounded, so that one book more of a prolific author
    does not change the likeness of all others."""
    author, known = Window.partitionBy("surname", F.left("given", F.lit(1))), F.col("surname") != ""
    counts = (F.count("*").over(author), F.sum("records").over(author))
    return nodes.withColumns(
        {name: F.when(known, _rounded(count)).otherwise(1.0) for name, count in zip(AUTHOR_COUNTS, counts, strict=True)}
    )


def _rounded(count: Column) -> Column:
    return F.when(count <= _COUNTED_EXACTLY, count.cast("double")).otherwise(F.pow(2.0, F.round(F.log2(count) * 4) / 4))


def _set_apart(decided: Constraints) -> list[str]:
    return sorted({edition for sides in decided.apart for side in sides for edition in side})


def _values(name: str) -> Column:
    """The distinct values that say something, sorted, a few of them."""
    return F.slice(F.array_sort(F.collect_set(F.when(F.col(name) != "", F.col(name)))), 1, _MOST_VALUES)


def members_of(editions: DataFrame, nodes: DataFrame) -> DataFrame:
    """The node of each edition: `edition_id`, `main`, `author_id` (null without an author), `node`."""
    author_id = F.when(F.col("surname") != "", F.trim(F.concat_ws(" ", "surname", "given")))
    rows = editions.select("edition_id", "spelled", "main", author_id.alias("author_id"))
    return rows.join(nodes.select("spelled", "node"), "spelled").drop("spelled")
