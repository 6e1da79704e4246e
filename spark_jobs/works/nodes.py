"""Editions to nodes: each edition taken apart, equal spellings gathered; on Spark, and of tables by themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.frames import in_buckets, settle, tasks
from spark_jobs.lake import require_columns, spark_schema
from spark_jobs.works.aliases import Alias
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.pairs import NODE_TEXTS, codes
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import FIELDS, PARSED, SPELLING, Reading, parse_batches, spell_batches

_text, _texts = pa.string(), pa.list_(pa.string())
GATHERED = pa.schema([
    pa.field("node", _text), pa.field("spelled", _text), *(pa.field(name, _text) for name in NODE_TEXTS),
    *(pa.field(name, _texts) for name in ("publishers", "years", "isbns")), pa.field("records", pa.int64()),
])  # fmt: skip
# What a node has of its author.
COUNTED = ("author_nodes", "author_records", "author_key")
NODES = pa.schema([*GATHERED, *(pa.field(name, pa.float64()) for name in COUNTED[:2]), pa.field(COUNTED[2], _text)])
_VOTES = pa.schema([pa.field("source", pa.string()), pa.field("votes", pa.int64())])
_JOINED = {"series": "series", "others": "others", "languages": "language"}  # column of a node -> of its editions
_LISTED = {"publishers": "publisher", "years": "year"}
_MOST_VALUES = 6
_MOST_ISBNS = 200
_COUNTED_EXACTLY = 8  # nodes or records of an author; more of them are rounded to halves of a doubling


def reading(votes: Mapping[str, int], config: MatchConfig, decided: Constraints) -> Reading:
    """How to read a catalogue.

    Args:
        votes: of each source, how many names more are written "Surname, Given" than are not.
        config: its aliases.
        decided: what persons put apart.
    """
    inverted = frozenset(source for source, count in votes.items() if count > 0)
    return Reading(inverted, _aliases(config.aliases), set_apart(decided))


@lru_cache(maxsize=1)
def _aliases(known: tuple[Alias, ...]) -> Aliases:
    return Aliases(known)


def set_apart(decided: Constraints) -> frozenset[str]:
    """The editions that persons set apart from others."""
    return frozenset(one for sides in decided.apart for side in sides for one in side)


def gather_nodes(editions: pa.Table) -> pa.Table:
    """`GATHERED` of `PARSED` editions, of which all that are spelled alike are there."""
    columns = {name: editions[name].to_pylist() for name in PARSED.names}
    groups: dict[str, list[int]] = defaultdict(list)
    for i, spelled in enumerate(columns["spelled"]):
        groups[spelled].append(i)
    return pa.Table.from_pylist([_node(columns, spelled, rows) for spelled, rows in groups.items()], GATHERED)


def _node(columns: dict[str, list[Any]], spelled: str, rows: list[int]) -> dict[str, Any]:
    first = rows[0]
    return {
        "node": min(columns["edition_id"][i] for i in rows), "spelled": spelled, "records": len(rows),
        **{name: columns[name][first] for name in SPELLING},
        **{name: " ".join(_values(columns[of], rows)) for name, of in _JOINED.items()},
        **{name: _values(columns[of], rows) for name, of in _LISTED.items()},
        "guess": min(columns["guess"][i] for i in rows),
        "isbns": sorted({isbn for i in rows for isbn in columns["isbns"][i]})[:_MOST_ISBNS],
    }  # fmt: skip


def _values(column: Sequence[str], rows: list[int]) -> list[str]:
    """The distinct values that say something, sorted, a few of them."""
    return sorted({column[i] for i in rows} - {""})[:_MOST_VALUES]


def count_nodes(nodes: pa.Table, config: MatchConfig) -> pa.Table:
    """`NODES` of `GATHERED` nodes, of which all with one surname are there: how many nodes and records the author has,
    which block that makes.

    The counts are rounded, so that one book more of a prolific author does not change the likeness of all others.
    """
    surnames = nodes["surname"].to_pylist()
    initials = [given[:1] for given in nodes["given"].to_pylist()]
    known = np.array([surname != "" for surname in surnames], bool)
    author, surname = codes(list(zip(surnames, initials, strict=True))), codes(surnames)
    records = np.bincount(author, nodes["records"].to_numpy(), minlength=1)[author]
    crowded = np.bincount(surname, minlength=1)[surname] > config.block_size
    keys = [f"{one}|{initial}" if many and one else one
            for one, initial, many in zip(surnames, initials, crowded, strict=True)]  # fmt: skip
    counted = (_rounded(np.bincount(author, minlength=1)[author], known), _rounded(records, known), keys)
    for name, values in zip(COUNTED, counted, strict=True):
        nodes = nodes.append_column(NODES.field(name), pa.array(values, NODES.field(name).type))
    return nodes


def _rounded(count: Any, known: Any) -> Any:
    """All that name nobody are no group."""
    count = np.maximum(count, 1).astype(float)
    rounded = np.where(count <= _COUNTED_EXACTLY, count, 2.0 ** (np.round(np.log2(count) * 2) / 2))
    return np.where(known, rounded, 1.0)


def gather(editions: DataFrame, config: MatchConfig, decided: Constraints) -> tuple[DataFrame, DataFrame]:
    """Take each edition apart and gather equal spellings; how names are written is put to the vote in each `source`.

    Args:
        editions: `records.FIELDS`, one row for each edition_id; `source` if there are several.
        config: its aliases and bounds.
        decided: what persons put together or apart.

    Returns:
        `records.PARSED` of each edition; `NODES`, one row for each spelling.

    Raises:
        ContractError: a column is missing.
    """
    parsed = parse(editions, config, decided).localCheckpoint()
    return parsed, nodes_of(parsed, config).localCheckpoint()


def parse(editions: DataFrame, config: MatchConfig, decided: Constraints | None = None) -> DataFrame:
    """`records.PARSED` of each edition; arguments and errors as of `gather`."""
    rows = with_fingerprint(editions)
    votes = _votes(rows).groupBy("source").agg(F.sum("votes")).collect()  # few, as sources are
    how = reading({row[0]: row[1] for row in votes}, config, decided or Constraints([], []))

    # Taking titles and names apart needs Python; Arrow hands over whole columns.
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle("parse")
        return parse_batches(batches, how)

    return rows.repartition(tasks(rows), "edition_id").mapInArrow(run, spark_schema(PARSED))


def with_fingerprint(editions: DataFrame) -> DataFrame:
    """`records.FIELDS`, `source` and the `records.fingerprint` of both.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(editions, FIELDS, "the catalogue")
    source = F.col("source") if "source" in editions.columns else F.lit("")
    texts = (F.coalesce(F.col(one).cast("string"), F.lit("\0")) for one in (*FIELDS, "source"))
    return editions.withColumn("source", source).select(
        *FIELDS, "source", F.md5(F.concat_ws("\1", *texts)).alias("fingerprint")
    )


def _votes(rows: DataFrame) -> DataFrame:
    """`source`, `votes`: how many names more are written "Surname, Given" than are not."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts: Counter[str] = Counter()
            for source, author in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                counts[source] += names_are_inverted(author)
            yield pa.RecordBatch.from_pydict({"source": list(counts), "votes": list(counts.values())}, schema=_VOTES)

    return rows.select("source", "author").mapInArrow(run, spark_schema(_VOTES))


def spelled(parsed: DataFrame) -> DataFrame:
    """Parsed editions, of which something was changed, with what they are spelled like now."""
    return parsed.mapInArrow(spell_batches, spark_schema(PARSED))


def nodes_of(parsed: DataFrame, config: MatchConfig) -> DataFrame:
    """`NODES` of `records.PARSED` editions."""
    whose = F.when(F.col("surname") != "", F.col("surname")).otherwise(F.col("edition_id"))

    def run(editions: pa.Table) -> pa.Table:
        return count_nodes(gather_nodes(editions), config)

    return in_buckets(parsed.withColumn("whose", whose), ["whose"], 4 * config.bucket_rows, run, NODES, True)


def members_of(parsed: DataFrame, nodes: DataFrame) -> DataFrame:
    """The node of each edition: `edition_id`, `main`, `node`, `records` of it."""
    return (
        parsed.select("edition_id", "spelled", "main")
        .join(nodes.select("spelled", "node", "records"), "spelled")
        .drop("spelled")
    )
