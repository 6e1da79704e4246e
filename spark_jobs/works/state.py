"""What one clustering leaves for the next, so that it need only look at what has changed.

It is a cache: without it, or with another version of the code, of the scorer or of the bounds, everything is worked out
again, and the same works come of it.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass, fields
from functools import reduce
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from bookworks import isbn
from spark_jobs.files import make_text, place, read_text
from spark_jobs.works.config import MatchConfig

_LIBRARIES = ("ftfy", "lightgbm", "numpy", "pyspark", "rapidfuzz", "scipy")
POINTER = "current.json"  # names the version that holds
WORTH_SAVING = 0.03  # share of changed rows from which on a state is kept in place of the one before


@dataclass(frozen=True)
class State:
    """Tables of one clustering.

    Attributes:
        parsed: `records.PARSED` of each edition.
        nodes: `nodes.NODES`, one row for each spelling.
        standing: `comparing.STANDING`: the blocks of each node.
        pairs: `comparing.COMPARED`: the pairs over the floor, once for each block that both stand in.
        linked: `linking.LINKED`: the cluster of each node that has a pair.
    """

    parsed: DataFrame
    nodes: DataFrame
    standing: DataFrame
    pairs: DataFrame
    linked: DataFrame


TABLES = tuple(one.name for one in fields(State))


def load(spark: SparkSession, folder: str, config: MatchConfig) -> State | None:
    """What the last clustering left in a folder; None if it left nothing whole, or was made in another way.

    Args:
        spark: session that reads.
        folder: address that Hadoop understands, without a slash at the end.
        config: the bounds of this run.
    """
    told = _told(spark, folder)
    if told.get("made_by") != made_by(config):
        return None
    try:
        schemas = {name: StructType.fromJson(told["schemas"][name]) for name in TABLES}
        where = f"{folder}/{told['version']}"
        tables = {name: spark.read.schema(schemas[name]).parquet(f"{where}/{name}") for name in TABLES}
        return State(**tables) if _rows(tables) == told["rows"] else None
    except (KeyError, TypeError, AnalysisException):
        return None


def save(state: State, folder: str, config: MatchConfig) -> None:
    """Write the tables into the folder and point to them; a run that dies leaves those that were there.

    The version before stays, for the state may still read from it; the one before that is removed.
    """
    spark, version, old = state.parsed.sparkSession, uuid4().hex, _told(state.parsed.sparkSession, folder)
    tables: dict[str, DataFrame] = {name: getattr(state, name) for name in TABLES}
    for name, table in tables.items():
        table.write.parquet(f"{folder}/{version}/{name}")
    schemas = {name: table.schema for name, table in tables.items()}
    kept = {name: spark.read.schema(schemas[name]).parquet(f"{folder}/{version}/{name}") for name in TABLES}
    told = {
        "version": version, "before": old.get("version"), "made_by": made_by(config), "rows": _rows(kept),
        "schemas": {name: schema.jsonValue() for name, schema in schemas.items()},
    }  # fmt: skip
    make_text(spark, f"{folder}/{POINTER}", json.dumps(told))
    if is_version(old.get("before")):
        store, path = place(spark, f"{folder}/{old['before']}")
        store.delete(path, True)


def is_version(name: object) -> bool:
    """Whether a folder of this name may be one of a state."""
    return re.fullmatch("[0-9a-f]{32}", str(name)) is not None


def _rows(tables: dict[str, DataFrame]) -> dict[str, int]:
    """How many rows each table has."""
    named = (table.select(F.lit(name).alias("name")) for name, table in tables.items())
    counts = reduce(DataFrame.union, named).groupBy("name").count().collect()
    return dict.fromkeys(tables, 0) | {row["name"]: row["count"] for row in counts}


def made_by(config: MatchConfig) -> str:
    """A digest of all that the result depends on besides the rows: bounds, code, scorer, libraries."""
    digest = sha256(json.dumps(asdict(config), sort_keys=True).encode())
    digest.update(" ".join([sys.version, *(f"{name} {metadata.version(name)}" for name in _LIBRARIES)]).encode())
    jobs = Path(__file__).parents[1]
    for path in (*sorted(jobs.rglob("*")), Path(isbn.__file__)):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _told(spark: SparkSession, folder: str) -> dict[str, Any]:
    """What the pointer says; nothing where there is none, or a broken one."""
    try:
        told = json.loads(read_text(spark, f"{folder}/{POINTER}") or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
