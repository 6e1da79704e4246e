"""The graph of a bundle as tables: authors, works, series, editions, and how they hang together. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bookworks.contracts.bundle import EDITIONS, WORKS

Rows = list[dict[str, Any]]

# "Discworld, #4", "Discworld 4", "The Wheel of Time, Book 3", "Foundation (2)"
_VOLUME = re.compile(
    r"^(?P<name>.*?\S)[\s,;:(\[]+(?:#|no\.?|vol\.?|volume|book|bk\.?|part)?\s*#?(?P<volume>\d{1,3}(?:\.\d)?)[)\]]?$",
    re.IGNORECASE,
)

SCHEMAS: dict[str, pa.Schema] = {
    "authors": pa.schema([("author_id", pa.string()), ("name", pa.string())]),
    "works": pa.schema(
        [
            ("work_id", pa.string()),
            ("title", pa.string()),
            ("year", pa.int32()),
            ("language", pa.string()),
            ("publisher", pa.string()),
            ("subjects", pa.list_(pa.string())),
        ]
    ),
    "series": pa.schema([("series_id", pa.string()), ("name", pa.string())]),
    "editions": pa.schema([("edition_id", pa.string()), ("isbn13", pa.string())]),
    "wrote": pa.schema([("author_id", pa.string()), ("work_id", pa.string())]),
    "in_series": pa.schema([("work_id", pa.string()), ("series_id", pa.string()), ("volume", pa.float32())]),
    "edition_of": pa.schema([("edition_id", pa.string()), ("work_id", pa.string())]),
}


def split_volume(series: str) -> tuple[str, float | None]:
    """A series' name and the volume in it, where it is written behind the name."""
    text = " ".join(series.split())
    match = _VOLUME.match(text)
    return (match["name"].rstrip(" ,;:("), float(match["volume"])) if match else (text, None)


def _key(name: str) -> str:
    return " ".join(name.lower().split())


def build(works: pa.Table, editions: pa.Table) -> dict[str, Rows]:
    """Rows of each node and relation, by the names of `SCHEMAS`.

    A work without author or series has no such relation; an author without an id is known by the name.
    """
    tables: dict[str, Rows] = {name: [] for name in SCHEMAS}
    authors: dict[str, str] = {}
    series: dict[str, str] = {}
    for work in works.to_pylist():
        tables["works"].append({name: work.get(name) for name in SCHEMAS["works"].names})
        if author_id := work.get("author_id") or _named(work.get("author")):
            authors.setdefault(author_id, work.get("author") or author_id)
            tables["wrote"].append({"author_id": author_id, "work_id": work["work_id"]})
        if work.get("series"):
            name, volume = split_volume(work["series"])
            series.setdefault(_key(name), name)
            tables["in_series"].append({"work_id": work["work_id"], "series_id": _key(name), "volume": volume})
    for edition in editions.to_pylist():
        tables["editions"].append({name: edition.get(name) for name in ("edition_id", "isbn13")})
        tables["edition_of"].append({name: edition[name] for name in ("edition_id", "work_id")})
    tables["authors"] = [{"author_id": key, "name": name} for key, name in authors.items()]
    tables["series"] = [{"series_id": key, "name": name} for key, name in series.items()]
    return tables


def _named(author: str | None) -> str | None:
    return f"name:{_key(author)}" if author and author.strip() else None


def read(bundle: Path) -> dict[str, Rows]:
    """The graph of the bundle in a folder."""
    return build(pq.read_table(bundle / WORKS), pq.read_table(bundle / EDITIONS))


def dump(tables: dict[str, Rows], folder: Path) -> None:
    """One Parquet file a node and relation."""
    for name, schema in SCHEMAS.items():
        pq.write_table(pa.Table.from_pylist(tables[name], schema=schema), folder / f"{name}.parquet")
