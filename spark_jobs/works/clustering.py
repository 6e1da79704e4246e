"""Editions to works, on Spark: parse, gather equal spellings into nodes, compare within blocks, cluster.

Pure: DataFrame in, DataFrame out; no path. Nothing is collected but counts and votes. The result depends on the
rows alone, not on their order or partitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from rapidfuzz import fuzz

from spark_jobs.components import components
from spark_jobs.lake import require_columns, spark_schema
from spark_jobs.works import blocks
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.linkage import APART, TOGETHER, UNSEEN, linkage
from spark_jobs.works.pairs import NODE_NUMBERS, NODE_TEXTS, Nodes
from spark_jobs.works.persons import names_are_inverted
from spark_jobs.works.records import FIELDS, PARSED, parse_batches
from spark_jobs.works.scorer import rarity, score


@dataclass(frozen=True)
class MatchConfig:
    """How works are found.

    Attributes:
        threshold: least mean probability at which two clusters are one work.
        floor: pairs below this probability are as if never compared.
        block_size: most nodes of one author that are compared pair by pair.
        key_block_size: most nodes with one title, co-author or ISBN that are compared; larger blocks are left out.
        component_size: most nodes of a component that are clustered at once; larger ones are cut at weak edges.
        isbn_probability: least probability of a pair that shares an ISBN.
        bucket_rows: rows of blocks that one Python call gets.
    """

    threshold: float = 0.42
    floor: float = 0.05
    block_size: int = 600
    key_block_size: int = 150
    component_size: int = 2500
    isbn_probability: float = 0.9
    bucket_rows: int = 10_000


@dataclass(frozen=True)
class Clustered:
    """What `cluster` found.

    Attributes:
        editions: `edition_id`, `cluster` (the smallest edition_id in it), `confidence` (0 to 1), `author_id` (null
            without an author).
        cut: blocks over their bound, of which not all pairs were compared: `rule`, `key`, `nodes`.
        pairs: `PAIRS` of nodes, each node named by its smallest edition.
    """

    editions: DataFrame
    cut: DataFrame
    pairs: DataFrame

    def cut_counts(self) -> dict[str, int]:
        """How many blocks were over their bound, and how many nodes stand in them."""
        row = self.cut.agg(F.count("*").alias("blocks_cut"), F.sum("nodes").alias("nodes_in_cut_blocks")).collect()[0]
        return {name: int(n or 0) for name, n in row.asDict().items()}


NODES = pa.schema([
    pa.field("node", pa.string()), *(pa.field(name, pa.string()) for name in NODE_TEXTS),
    pa.field("publishers", pa.list_(pa.string())), pa.field("years", pa.list_(pa.string())),
    pa.field("isbns", pa.list_(pa.string())),
    *(pa.field(name, pa.int64()) for name in NODE_NUMBERS),
])  # fmt: skip
_VOTES = pa.schema([pa.field("source", pa.string()), pa.field("votes", pa.int64())])
PAIRS = pa.schema([pa.field("a", pa.string()), pa.field("b", pa.string()), pa.field("p", pa.float64())])
MEMBERS = pa.schema([pa.field("node", pa.string()), pa.field("root", pa.string()), pa.field("sure", pa.float64())])
_SPELLING = ("surname", "given", "main", "subtitle", "volume", "series_number", "kind")
_MOST_VALUES = 6
_TELLING_WORDS = 3  # of a title that may match without an author
_TITLE_ALONE = 0.3
_SAME_SERIES = 80  # least likeness of two names of one series, 0 to 100
_SAME_SPELLING = 0.99  # how sure two records of one spelling are one work: on labelled editions .997 of pairs


def cluster(editions: DataFrame, config: MatchConfig, decided: Constraints | None = None) -> Clustered:
    """The cluster of each edition.

    Args:
        editions: `records.FIELDS`, one row for each edition_id; `source` if there are several.
        config: the bounds.
        decided: what persons put together or apart.

    Raises:
        ContractError: a column is missing.
    """
    decided = decided or Constraints([], [])
    members, nodes = gather(parse(editions), decided)
    rows = block_rows(nodes, config).localCheckpoint()
    pairs = score_pairs(rows, config).unionByName(_bonds(members, decided)).localCheckpoint()
    return Clustered(assign(members, nodes, pairs, config), cut_blocks(rows, config), pairs)


def cut_blocks(rows: DataFrame, config: MatchConfig) -> DataFrame:
    """The blocks over their bound: `rule`, `key`, `nodes`."""
    bound = F.when(F.col("rule") == blocks.AUTHOR, config.block_size).otherwise(config.key_block_size)
    return rows.groupBy("rule", "key").agg(F.count("*").alias("nodes")).where(F.col("nodes") > bound)


def parse(editions: DataFrame) -> DataFrame:
    """`records.PARSED` of each edition; how names are written is put to the vote in each `source`."""
    require_columns(editions, FIELDS, "the catalogue")
    source = F.col("source") if "source" in editions.columns else F.lit("")
    rows = editions.select(*FIELDS, source.alias("source")).repartition(_tasks(editions), "edition_id")
    inverted = _sources_with_inverted_names(rows)

    # Taking titles and names apart needs Python; Arrow hands over whole columns.
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return parse_batches(batches, inverted)

    return rows.mapInArrow(run, spark_schema(PARSED)).localCheckpoint()


def _tasks(frame: DataFrame) -> int:
    """Partitions for steps that cost much Python a row: Spark, left to itself, gathers small tables on one core."""
    return 4 * frame.sparkSession.sparkContext.defaultParallelism


def _sources_with_inverted_names(rows: DataFrame) -> frozenset[str]:
    """The sources, few as they are, in which most names are written "Surname, Given"."""

    def votes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts: Counter[str] = Counter()
            for source, author in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                counts[source] += names_are_inverted(author)
            yield pa.RecordBatch.from_pydict({"source": list(counts), "votes": list(counts.values())}, schema=_VOTES)

    cast = rows.select("source", "author").mapInArrow(votes, spark_schema(_VOTES))
    return frozenset(row[0] for row in cast.groupBy("source").agg(F.sum("votes").alias("n")).where("n > 0").collect())


def gather(parsed: DataFrame, decided: Constraints) -> tuple[DataFrame, DataFrame]:
    """Editions with the node each belongs to (`edition_id`, `node`, `spelled`), and the nodes (`NODES`).

    A node is all editions of one author under one spelling of one title. An edition without an author or a title
    is a node by itself: it matches nobody by what it lacks. So is one that a person set apart.
    """
    alone = (F.col("surname") == "") | (F.col("main") == "") | F.col("edition_id").isin(_set_apart(decided))
    spelled = F.when(alone, F.concat(F.lit("\u0000"), F.col("edition_id"))).otherwise(F.concat_ws("\u0001", *_SPELLING))
    editions = parsed.withColumn("spelled", spelled)
    values = [_values(name).alias(f"{name}s") for name in ("publisher", "year")]
    nodes = editions.groupBy("spelled").agg(
        F.min("edition_id").alias("node"),
        *(F.first(name).alias(name) for name in _SPELLING),
        *(F.array_join(_values(name), " ").alias(alias) for name, alias in
          (("series", "series"), ("others", "others"), ("language", "languages"))),
        F.min("guess").alias("guess"),
        *values,
        F.slice(F.array_sort(F.array_distinct(F.flatten(F.collect_list("isbns")))), 1, 200).alias("isbns"),
        F.count("*").alias("records"),
    )  # fmt: skip
    author = Window.partitionBy("surname", F.left("given", F.lit(1)))
    known = F.col("surname") != ""
    counted = nodes.withColumn("author_nodes", F.when(known, F.count("*").over(author)).otherwise(1)).withColumn(
        "author_records", F.when(known, F.sum("records").over(author)).otherwise(1)
    )
    stored = counted.localCheckpoint()
    author_id = F.when(known, F.trim(F.concat_ws(" ", "surname", "given")))
    members = editions.select("edition_id", "spelled", "main", author_id.alias("author_id")).join(
        stored.select("spelled", "node"), "spelled"
    )
    return members.localCheckpoint(), stored.select(*NODES.names)


def _set_apart(decided: Constraints) -> list[str]:
    return sorted({edition for sides in decided.apart for side in sides for edition in side})


def _values(name: str) -> Column:
    """The distinct values that say something, sorted, a few of them."""
    return F.slice(F.array_sort(F.collect_set(F.when(F.col(name) != "", F.col(name)))), 1, _MOST_VALUES)


def block_rows(nodes: DataFrame, config: MatchConfig) -> DataFrame:
    """The nodes, once for each block they stand in: `rule`, `key` and the columns of a node."""
    surname = Window.partitionBy("surname")
    crowded = F.count("*").over(surname) > config.block_size
    author = F.when(crowded, F.concat_ws("|", "surname", F.left("given", F.lit(1)))).otherwise(F.col("surname"))
    first_word = F.substring_index("main", " ", 1)
    named, titled = F.col("surname") != "", F.col("main") != ""
    persons = F.transform(
        F.split(F.concat_ws(" ", "surname", "others"), " "), lambda one: _block(blocks.PERSON, one, first_word)
    )
    found = F.concat(
        F.when(named & titled, F.array(_block(blocks.AUTHOR, F.col("author_key")))).otherwise(F.array()),
        F.when(titled, F.array(_block(blocks.TITLE, F.col("main")))).otherwise(F.array()),
        F.when(named & titled & (F.col("others") != ""), persons).otherwise(F.array()),
        F.transform("isbns", lambda isbn: _block(blocks.ISBN, isbn)),
    )
    exploded = (
        nodes.withColumn("author_key", author)
        .withColumn("block", F.explode(found))
        .select("block.rule", "block.key", *NODES.names)
    )
    several = F.count("*").over(Window.partitionBy("rule", "key")) > 1
    return exploded.withColumn("several", several).where("several").drop("several")


def _block(rule: str, *parts: Column) -> Column:
    return F.struct(F.lit(rule).alias("rule"), F.concat_ws("|", *parts).alias("key"))


def score_pairs(rows: DataFrame, config: MatchConfig) -> DataFrame:
    """Compared pairs (`PAIRS`, a < b) with a probability over the floor, of the rows of `block_rows`."""
    buckets = max(4, rows.count() // config.bucket_rows)

    def run(table: pa.Table) -> pa.Table:
        return score_bucket(table, config)

    bucket = F.pmod(F.xxhash64("rule", "key"), F.lit(buckets))
    # Comparing texts of many pairs at once needs numpy; one call gets whole blocks, and as many as it can hold.
    bucketed = rows.withColumn("bucket", bucket).repartition(_tasks(rows), "bucket")
    found = bucketed.groupBy("bucket").applyInArrow(run, spark_schema(PAIRS))
    return found.groupBy("a", "b").agg(F.max("p").alias("p"))


def score_bucket(table: pa.Table, config: MatchConfig) -> pa.Table:
    """`PAIRS` of the blocks of one bucket."""
    table = table.sort_by([("rule", "ascending"), ("key", "ascending"), ("node", "ascending")])
    columns = {name: table[name].to_pylist() for name in ("rule", "key", *NODES.names)}
    nodes = Nodes(columns, rarity())
    found: list[dict[str, Any]] = []
    for a, b in in_portions(columns, config):
        p = _with_evidence(columns, a, b, score(nodes, a, b), config)
        kept = np.flatnonzero(p >= config.floor)
        ids = np.array(columns["node"], object)
        left, right = ids[a[kept]], ids[b[kept]]
        swap = left > right
        found.append({"a": np.where(swap, right, left), "b": np.where(swap, left, right), "p": p[kept].astype(float)})
    if not found:
        return PAIRS.empty_table()
    joined = {name: np.concatenate([one[name] for one in found]) for name in PAIRS.names}
    return pa.table({name: pa.array(joined[name].tolist(), PAIRS.field(name).type) for name in PAIRS.names})


_PORTION = 150_000  # pairs that are scored at once


def in_portions(columns: dict[str, list[Any]], config: MatchConfig) -> Iterator[tuple[Any, Any]]:
    """Index pairs to compare, of whole blocks, some 100,000 at a time; columns sorted by rule and key."""
    waiting: list[tuple[Any, Any]] = []
    for rows in blocks.runs(list(zip(columns["rule"], columns["key"], strict=True))):
        rule = columns["rule"][rows[0]]
        bound = config.block_size if rule == blocks.AUTHOR else config.key_block_size
        waiting.append(blocks.block_pairs(rule, rows, columns["main"], columns["surname"], columns["given"], bound))
        if sum(len(a) for a, _ in waiting) >= _PORTION:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def _with_evidence(columns: dict[str, list[Any]], a: Any, b: Any, p: Any, config: MatchConfig) -> Any:
    """What the labelled editions could not teach: two places in one series are two works; a shared ISBN speaks for one,
    and so do publisher and year together where an author is missing."""
    p = p.astype(float)
    for k, (i, j) in enumerate(zip(a, b, strict=True)):
        if _other_volume(columns, i, j):
            p[k] = min(p[k], UNSEEN)
        elif columns["rule"][i] == blocks.ISBN:
            p[k] = max(p[k], config.isbn_probability)
        elif not columns["surname"][i] or not columns["surname"][j]:
            p[k] = _without_author(columns, i, j, p[k])
    return p


def _without_author(columns: dict[str, list[Any]], i: int, j: int, p: float) -> float:
    """A short title alone ("Poems") tells nothing where an author is missing."""
    same = columns["main"][i] == columns["main"][j]
    if same and _meet(columns["publishers"], i, j) and _meet(columns["years"], i, j):
        return max(p, 0.5 * (1 + p))
    words = min(len(f"{columns['main'][k]} {columns['subtitle'][k]}".split()) for k in (i, j))
    return p if words >= _TELLING_WORDS else min(p, _TITLE_ALONE)


def _other_volume(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    numbers, series = columns["series_number"], columns["series"]
    different = numbers[i] and numbers[j] and numbers[i] != numbers[j]
    return bool(different and fuzz.token_set_ratio(series[i], series[j]) >= _SAME_SERIES)


def _meet(values: list[Any], i: int, j: int) -> bool:
    return bool(set(values[i] or ()) & set(values[j] or ()))


def _bonds(members: DataFrame, decided: Constraints) -> DataFrame:
    """What persons decided, as pairs of nodes with `TOGETHER` or `APART` for a probability."""
    spark = members.sparkSession
    ties = [(group[0], other, TOGETHER) for group in decided.together for other in group[1:]]
    ties += [(left, right, APART) for sides in decided.apart for left in sides[0] for right in sides[1]]
    wanted = spark.createDataFrame(ties, "left string, right string, p double")
    if not ties:
        return spark.createDataFrame([], spark_schema(PAIRS))
    of = members.select("edition_id", "node")
    a = of.select(F.col("edition_id").alias("left"), F.col("node").alias("x"))
    b = of.select(F.col("edition_id").alias("right"), F.col("node").alias("y"))
    nodes = wanted.join(a, "left").join(b, "right").where("x <> y")
    return nodes.select(F.least("x", "y").alias("a"), F.greatest("x", "y").alias("b"), "p").distinct()


def assign(members: DataFrame, nodes: DataFrame, pairs: DataFrame, config: MatchConfig) -> DataFrame:
    """Clusters of editions from the scored pairs of their nodes."""
    of_node = _linked(nodes, _strongest(pairs), config)
    joined = members.join(of_node, "node", "left")
    root = F.coalesce("root", "node")
    lone = F.count("*").over(Window.partitionBy("node")) == 1
    unknown = F.col("main") == ""
    sure = F.coalesce("sure", F.when(lone, F.lit(1.0)).otherwise(F.lit(_SAME_SPELLING)))
    confidence = F.round(F.when(unknown & lone, 0.0).otherwise(F.greatest(sure, F.lit(0.0))), 4)
    placed = joined.select("edition_id", "author_id", root.alias("root"), confidence.alias("confidence"))
    smallest = F.min("edition_id").over(Window.partitionBy("root"))
    return placed.select("edition_id", smallest.alias("cluster"), "confidence", "author_id")


def _strongest(pairs: DataFrame) -> DataFrame:
    """One row a pair: what a person said stands over what the scorer says, apart over together."""
    said = F.when(F.count_if(F.col("p") == APART) > 0, F.lit(APART)).otherwise(F.max("p"))
    return pairs.groupBy("a", "b").agg(said.alias("p"))


def _linked(nodes: DataFrame, pairs: DataFrame, config: MatchConfig) -> DataFrame:
    """`MEMBERS`: nodes that have a pair, each with the smallest node of its cluster."""
    in_component = components(pairs.where(F.col("p") >= config.floor).select("a", "b"))
    weights = in_component.join(nodes.select("node", "records"), "node")
    vertices = weights.select(
        "root",
        F.col("node").alias("a"),
        F.lit(None).cast("string").alias("b"),
        F.col("records").cast("double").alias("p"),
    )
    edges = pairs.join(in_component.select(F.col("node").alias("a"), "root"), "a").select("root", "a", "b", "p")
    rows = vertices.unionByName(edges).localCheckpoint()
    buckets = max(4, rows.count() // (4 * config.bucket_rows))

    def run(table: pa.Table) -> pa.Table:
        return link_bucket(table, config)

    bucket = F.pmod(F.xxhash64("root"), F.lit(buckets))
    bucketed = rows.withColumn("bucket", bucket).repartition(_tasks(rows), "bucket")
    return bucketed.groupBy("bucket").applyInArrow(run, spark_schema(MEMBERS))


def link_bucket(table: pa.Table, config: MatchConfig) -> pa.Table:
    """`MEMBERS` of the components of one bucket."""
    table = table.sort_by([("root", "ascending"), ("a", "ascending"), ("b", "ascending")])
    roots, a, b, p = (table[name].to_pylist() for name in ("root", "a", "b", "p"))
    out: list[tuple[str, str, float]] = []
    for rows in blocks.runs(roots):
        ids = [a[i] for i in rows if b[i] is None]
        at = {node: k for k, node in enumerate(ids)}
        weights = np.array([p[i] for i in rows if b[i] is None])
        edges = [(at[a[i]], at[b[i]], p[i]) for i in rows if b[i] is not None and b[i] in at]
        left, right, value = (
            (np.array(column) for column in zip(*edges, strict=True))
            if edges
            else (np.empty(0, int),) * 2 + (np.empty(0),)
        )
        found, sure = linkage(
            weights, left.astype(int), right.astype(int), value.astype(float), config.threshold, config.component_size
        )
        out += [(ids[k], ids[found[k]], float(sure[k])) for k in range(len(ids))]
    columns = list(zip(*out, strict=True)) if out else [(), (), ()]
    return pa.table(
        {
            name: pa.array(list(column), MEMBERS.field(name).type)
            for name, column in zip(MEMBERS.names, columns, strict=True)
        }
    )
