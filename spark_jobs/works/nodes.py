"""Editions to nodes, on Spark: each edition taken apart, equal spellings gathered. What the run before did is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_jobs.lake import require_columns, spark_schema
from spark_jobs.works.aliases import Alias
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.frames import SMALL, local, settle, tasks
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import FIELDS, PARSED, parse_batches, parse_table
from spark_jobs.works.state import COUNTED, NODES, State

_VOTES = pa.schema([pa.field("source", pa.string()), pa.field("votes", pa.int64())])
_SPELLING = ("surname", "given", "main", "subtitle", "volume", "series_number", "kind")
_MOST_VALUES = 6
_MOST_ISBNS = 200
_COUNTED_EXACTLY = 8  # nodes or records of an author; more of them are rounded to halves of a doubling
_ALONE = "\u0000"  # begins what an edition is spelled like that is a node by itself


@dataclass(frozen=True)
class Since:
    """What moved since an earlier run.

    Attributes:
        before: what that run left.
        moved: `NODES` that it did not have so, `sign` 1, and those that it had otherwise, `sign` -1.
    """

    before: State
    moved: DataFrame


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
    again = _gather_again(_with_fingerprint(editions), config, decided, before) if before else None
    if again:
        return again
    parsed = spelled(parse(editions, config), decided).localCheckpoint()
    return Gathered(parsed, nodes_of(parsed, config).localCheckpoint())


def parse(editions: DataFrame, config: MatchConfig) -> DataFrame:
    """`records.PARSED` of each edition; arguments and errors as of `gather`."""
    rows = _with_fingerprint(editions)
    votes = _votes(rows).groupBy("source").agg(F.sum("votes")).collect()  # few, as sources are
    inverted = _inverted({row[0]: row[1] for row in votes})

    # Taking titles and names apart needs Python; Arrow hands over whole columns.
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle("parse")
        return parse_batches(batches, inverted, _aliases(config.aliases))

    return rows.repartition(tasks(rows), "edition_id").mapInArrow(run, spark_schema(PARSED))


def _with_fingerprint(editions: DataFrame) -> DataFrame:
    require_columns(editions, FIELDS, "the catalogue")
    source = F.col("source") if "source" in editions.columns else F.lit("")
    return editions.select(*FIELDS, source.alias("source"), _digest(*FIELDS, source).alias("fingerprint"))


def _digest(*columns: str | Column) -> Column:
    texts = [F.col(one) if isinstance(one, str) else one for one in columns]
    return F.xxhash64(*(F.coalesce(one.cast("string"), F.lit("\u0000")) for one in texts))  # it passes over nulls


@lru_cache(maxsize=1)
def _aliases(known: tuple[Alias, ...]) -> Aliases:
    return Aliases(known)


def _votes(rows: DataFrame) -> DataFrame:
    """`source`, `votes`: how many names more are written "Surname, Given" than are not."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts: Counter[str] = Counter()
            for source, author in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                counts[source] += names_are_inverted(author)
            yield pa.RecordBatch.from_pydict({"source": list(counts), "votes": list(counts.values())}, schema=_VOTES)

    return rows.select("source", "author").mapInArrow(run, spark_schema(_VOTES))


def _inverted(votes: Mapping[str, int]) -> frozenset[str]:
    """The sources in which most names are written "Surname, Given"."""
    return frozenset(source for source, count in votes.items() if count > 0)


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


def _gather_again(rows: DataFrame, config: MatchConfig, decided: Constraints, before: State) -> Gathered | None:
    """As `gather`, for the rows that moved, what they were beside, and nothing else; None where that is too much."""
    of_source = before.parsed.groupBy("source").agg(F.sum("vote").alias("votes"), F.count("*").alias("rows")).collect()
    votes, size = Counter({row["source"]: row["votes"] for row in of_source}), sum(row["rows"] for row in of_source)
    most = min(int(config.most_changed * size), SMALL)
    moved = _moved(rows, before.parsed, decided).limit(most + 1).toArrow()
    if moved.num_rows > most:
        return None
    came, went = (local(rows, moved.filter(pc.field(name)).select(["edition_id"])) for name in ("came", "went"))

    inverted = _inverted(votes)
    new_rows = rows.join(came, "edition_id", "left_semi").toArrow()
    fresh = spelled(local(rows, parse_table(new_rows, inverted, _aliases(config.aliases))), decided)
    gone = before.parsed.join(went, "edition_id", "left_semi")
    sides = ((fresh, 1), (gone, -1))
    signed = (side.select("spelled", "surname", "source", (F.col("vote") * sign).alias("vote")) for side, sign in sides)
    touched = reduce(DataFrame.union, signed).toArrow()
    for source, vote in zip(touched["source"].to_pylist(), touched["vote"].to_pylist(), strict=True):
        votes[source] += vote
    if _inverted(votes) != inverted:  # all names of a source are to be read in another way
        return None

    editions = before.parsed.join(went, "edition_id", "left_anti").unionByName(fresh)
    nodes, moved_nodes = _nodes_again(before.nodes, editions, touched, config)
    return Gathered(editions, nodes, Since(before, moved_nodes), moved.num_rows / max(size, 1))


def _moved(rows: DataFrame, parsed: DataFrame, decided: Constraints) -> DataFrame:
    """The rows that are new, changed, gone, or set apart as they were not: `edition_id`, `came`, `went`."""
    was_apart = F.col("spelled").startswith(_ALONE) & _told()
    before = parsed.select("edition_id", F.col("fingerprint").alias("was"), was_apart.alias("was_apart"))
    both = rows.select("edition_id", "fingerprint").join(before, "edition_id", "full")
    same = F.col("fingerprint").eqNullSafe(F.col("was")) & (F.col("was_apart") == _set_apart(decided))
    came, went = (F.col(name).isNotNull() for name in ("fingerprint", "was"))
    return both.where(~same).select("edition_id", came.alias("came"), went.alias("went"))


def _nodes_again(
    before: DataFrame, editions: DataFrame, touched: pa.Table, config: MatchConfig
) -> tuple[DataFrame, DataFrame]:
    """All nodes, and those that moved (`Since.moved`), where `touched` names the spellings and surnames to look at."""
    spellings, surnames = (
        local(before, touched.group_by(name).aggregate([]).filter(pc.field(name) != "")).withColumn(
            f"{name}_touched", F.lit(True)
        )
        for name in ("spelled", "surname")
    )
    marked = before.join(spellings, "spelled", "left").join(surnames, "surname", "left")
    same = marked.where("spelled_touched IS NULL AND surname_touched IS NULL").select(*NODES.names)
    old = marked.where("spelled_touched OR surname_touched").localCheckpoint()
    kept = old.where("spelled_touched IS NULL").select(*(name for name in NODES.names if name not in COUNTED))
    made = _gathered(editions.join(spellings, "spelled", "left_semi"))
    new = _counted(kept.unionByName(made), config).localCheckpoint()
    both = (side.select(*NODES.names, F.lit(sign).alias("sign")) for side, sign in ((new, 1), (old, -1)))
    sides = F.count("*").over(Window.partitionBy("node", "stamp"))
    moved = reduce(DataFrame.union, both).withColumn("sides", sides).where("sides = 1").drop("sides")
    return same.unionByName(new), moved.localCheckpoint()
