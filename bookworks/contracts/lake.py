"""The lake: paths and pyarrow schemas.

`s3://<lake>/raw/<topic>/dt=…/`, `clean/<table>/version=<id>/`, `snapshots/<id>/`. Which version of a
clean table holds, its pointer `clean/<table>/_current.json` says.
"""

from __future__ import annotations

import pyarrow as pa

UTC_US = pa.timestamp("us", tz="UTC")


def raw_prefix(topic: str) -> str:
    """Key prefix of a topic's raw records."""
    return f"raw/{topic}/"


def raw_key(topic: str, partition: int, first: int, last: int, dt: str) -> str:
    """Key of one raw file: offsets `first` to `last` of one partition, broker date `dt` (YYYY-MM-DD)."""
    return f"{raw_prefix(topic)}dt={dt}/{topic}+{partition}+{first:020d}+{last:020d}.parquet"


def clean_prefix(table: str) -> str:
    """Key prefix of a clean table: its pointer and its versions. Read the version that the pointer names, no other."""
    return f"clean/{table}/"


def clean_pointer_key(table: str) -> str:
    """Key of the one small object that says which version of a clean table holds: `{"version": …, "rows": …}`.

    It is written last, when every file of its version lies there; a table without it does not exist.
    """
    return f"{clean_prefix(table)}_current.json"


def clean_version_prefix(table: str, version: str) -> str:
    """Key prefix of one version of a clean table (a folder of Parquet files), never changed once it is whole."""
    return f"{clean_prefix(table)}version={version}/"


def works_state_prefix() -> str:
    """Key prefix, without a slash at the end, of what one clustering of works leaves for the next: a cache."""
    return "state/works"


def snapshot_prefix(snapshot_id: str) -> str:
    """Key prefix of one training snapshot."""
    return f"snapshots/{snapshot_id}/"


def graph_prefix(version: str) -> str:
    """Key prefix of the graph made from one bundle: nodes and relations as Parquet."""
    return f"graph/{version}/"


_PROVENANCE = [
    pa.field("kafka_partition", pa.int32(), nullable=False),
    pa.field("kafka_offset", pa.int64(), nullable=False),
    pa.field("kafka_at", UTC_US, nullable=False),
    pa.field("extra", pa.string()),  # unknown fields, as JSON
]
_RECORD = [
    pa.field("schema_version", pa.int16(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("received_at", UTC_US, nullable=False),
]

# Column order is the contract of the raw files.
RAW_SCHEMAS: dict[str, pa.Schema] = {
    "interactions": pa.schema([
        *_RECORD,
        pa.field("event_id", pa.string(), nullable=False), pa.field("kind", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("edition_id", pa.string()), pa.field("work_id", pa.string()),
        pa.field("value", pa.float64()), pa.field("occurred_at", UTC_US),
        pa.field("session_id", pa.string()), pa.field("surface", pa.string()),
        pa.field("decision_id", pa.string()), pa.field("position", pa.int32()),
        *_PROVENANCE,
    ]),
    "catalogue": pa.schema([
        *_RECORD,
        pa.field("edition_id", pa.string(), nullable=False), pa.field("title", pa.string(), nullable=False),
        pa.field("author", pa.string()), pa.field("isbn", pa.string()), pa.field("year", pa.string()),
        pa.field("publisher", pa.string()), pa.field("language", pa.string()), pa.field("series", pa.string()),
        pa.field("format", pa.string()), pa.field("subjects", pa.list_(pa.string())),
        pa.field("image_url", pa.string()),
        *_PROVENANCE,
    ]),
    "readers": pa.schema([
        *_RECORD,
        pa.field("user_id", pa.string(), nullable=False), pa.field("country", pa.string()),
        pa.field("location", pa.string()), pa.field("age", pa.int64()), pa.field("tastes", pa.list_(pa.string())),
        *_PROVENANCE,
    ]),
    "decisions": pa.schema([
        *_RECORD,
        pa.field("decision_id", pa.string(), nullable=False), pa.field("user_id", pa.string(), nullable=False),
        pa.field("surface", pa.string(), nullable=False), pa.field("bundle_version", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False), pa.field("fallbacks", pa.list_(pa.string())),
        pa.field("occurred_at", UTC_US, nullable=False), pa.field("latency_ms", pa.float64()),
        pa.field("n", pa.int32()), pa.field("items", pa.string(), nullable=False),  # JSON list
        pa.field("context", pa.string()),  # JSON object
        pa.field("relaxed", pa.list_(pa.string())),
        *_PROVENANCE,
    ]),
}  # fmt: skip

# What Spark leaves for the warehouse. Written whole, replaced whole.
CLEAN_SCHEMAS: dict[str, pa.Schema] = {
    "editions": pa.schema([
        pa.field("edition_id", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False),
        pa.field("isbn13", pa.string()),
        pa.field("title", pa.string(), nullable=False), pa.field("author", pa.string()),
        pa.field("year", pa.int32()), pa.field("publisher", pa.string()), pa.field("language", pa.string()),
        pa.field("series", pa.string()), pa.field("format", pa.string()),
        pa.field("subjects", pa.list_(pa.string())), pa.field("image_url", pa.string()),
        pa.field("repairs", pa.list_(pa.string())),  # names of the repairs that changed something: field_rule
    ]),
    # What each repair of a catalogue's row made of what.
    "repairs": pa.schema([
        pa.field("edition_id", pa.string(), nullable=False), pa.field("field", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False), pa.field("before", pa.string(), nullable=False),
        pa.field("after", pa.string()),  # null: nothing was left
    ]),
    "edition_works": pa.schema([
        pa.field("edition_id", pa.string(), nullable=False), pa.field("work_id", pa.string(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
    ]),
    # Where a work's readers and ids went, when works were put together or taken apart. Append-only.
    "work_history": pa.schema([
        pa.field("old_work_id", pa.string(), nullable=False), pa.field("new_work_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # merge, split, restored
        pa.field("at", UTC_US, nullable=False), pa.field("why", pa.string(), nullable=False),
        pa.field("score", pa.float64()), pa.field("editions", pa.list_(pa.string()), nullable=False),
    ]),
    "works": pa.schema([
        pa.field("work_id", pa.string(), nullable=False), pa.field("title", pa.string(), nullable=False),
        pa.field("original_title", pa.string()),
        pa.field("author", pa.string()), pa.field("author_id", pa.string()),
        pa.field("series", pa.string()), pa.field("series_id", pa.string()),
        pa.field("series_number", pa.float64()),  # place in the series
        pa.field("publisher", pa.string()), pa.field("year", pa.int32()),  # of the first edition
        pa.field("language", pa.string()), pa.field("languages", pa.list_(pa.string())),  # most frequent; all
        pa.field("formats", pa.string()),  # editions by format, JSON: {"paperback": 2, "unknown": 1}
        pa.field("subjects", pa.list_(pa.string())),
        pa.field("image_url", pa.string()), pa.field("editions", pa.int32(), nullable=False),
    ]),
    "authors": pa.schema([
        pa.field("author_id", pa.string(), nullable=False), pa.field("name", pa.string(), nullable=False),
        pa.field("aliases", pa.list_(pa.string()), nullable=False),  # other spellings seen, the most frequent first
        pa.field("works", pa.int32(), nullable=False), pa.field("editions", pa.int32(), nullable=False),
        pa.field("first_year", pa.int32()), pa.field("last_year", pa.int32()),
    ]),
    "series": pa.schema([
        pa.field("series_id", pa.string(), nullable=False), pa.field("name", pa.string(), nullable=False),
        pa.field("author_id", pa.string()), pa.field("works", pa.int32(), nullable=False),
        pa.field("work_ids", pa.list_(pa.string()), nullable=False),  # by their numbers, those without one last
    ]),
    "interactions": pa.schema([
        pa.field("event_id", pa.string(), nullable=False), pa.field("kind", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("edition_id", pa.string()), pa.field("work_id", pa.string()),  # null: not in the catalogue
        pa.field("value", pa.float64()), pa.field("occurred_at", UTC_US), pa.field("received_at", UTC_US),
        pa.field("session_id", pa.string()), pa.field("surface", pa.string()),
        pa.field("decision_id", pa.string()), pa.field("position", pa.int32()), pa.field("source", pa.string()),
    ]),
    "readers": pa.schema([
        pa.field("user_id", pa.string(), nullable=False), pa.field("country", pa.string()),
        pa.field("age", pa.int32()), pa.field("source", pa.string(), nullable=False),
    ]),
}  # fmt: skip
