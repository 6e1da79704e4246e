"""The graph of a bundle as tables: authors, works, series, editions, and how they hang together. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bookworks.contracts.bundle import EDITIONS, WORKS

Row = dict[str, Any]
Rows = list[Row]

_text, _texts = pa.string(), pa.list_(pa.string())
SCHEMAS: dict[str, pa.Schema] = {
    "authors": pa.schema([("author_id", _text), ("name", _text), ("aliases", _texts)]),
    "works": pa.schema(
        [
            ("work_id", _text),
            ("title", _text),
            ("original_title", _text),
            ("year", pa.int32()),
            ("language", _text),
            ("publisher", _text),
            ("subjects", _texts),
        ]
    ),
    "series": pa.schema([("series_id", _text), ("name", _text)]),
    "editions": pa.schema([("edition_id", _text), ("isbn13", _text)]),
    "wrote": pa.schema([("author_id", _text), ("work_id", _text)]),
    "in_series": pa.schema([("work_id", _text), ("series_id", _text), ("number", pa.float64())]),
    "next_in_series": pa.schema([("work_id", _text), ("next_work_id", _text)]),
    "edition_of": pa.schema([("edition_id", _text), ("work_id", _text)]),
}


def build(works: pa.Table, editions: pa.Table) -> dict[str, Rows]:
    """Rows of each node and relation, by the names of `SCHEMAS`; a work without author or series has no such relation.

    Args:
        works: of the bundle; one of an older version, without `series_id`, has no series.
        editions: of the bundle.
    """
    tables: dict[str, Rows] = {name: [] for name in SCHEMAS}
    authors: dict[str, Row] = {}
    series: dict[str, Row] = {}
    volumes: dict[str, Rows] = defaultdict(list)
    for work in works.to_pylist():
        work_id, author_id, series_id = work["work_id"], work.get("author_id"), work.get("series_id")
        tables["works"].append({name: work.get(name) for name in SCHEMAS["works"].names})
        if author_id:
            name = work.get("author_name") or work.get("author") or author_id
            authors.setdefault(author_id, {"author_id": author_id, "name": name, "aliases": work.get("author_aliases")})
            tables["wrote"].append({"author_id": author_id, "work_id": work_id})
        if series_id:
            series.setdefault(series_id, {"series_id": series_id, "name": work["series"]})
            tables["in_series"].append({"work_id": work_id, "series_id": series_id, "number": work["series_number"]})
            volumes[series_id].append(work)
    for edition in editions.to_pylist():
        tables["editions"].append({name: edition.get(name) for name in ("edition_id", "isbn13")})
        tables["edition_of"].append({name: edition[name] for name in ("edition_id", "work_id")})
    tables["authors"], tables["series"] = list(authors.values()), list(series.values())
    tables["next_in_series"] = [pair for one in volumes.values() for pair in next_in_series(one)]
    return tables


def next_in_series(works: Rows) -> Rows:
    """What to read after each numbered work of one series: of those with the next number the earliest."""
    numbered = [work for work in works if work["series_number"] is not None]
    numbered.sort(key=lambda work: (work["series_number"], work.get("year") or 9999, work["work_id"]))
    steps = [list(same) for _, same in groupby(numbered, key=lambda work: work["series_number"])]
    return [
        {"work_id": work["work_id"], "next_work_id": after[0]["work_id"]}
        for step, after in pairwise(steps)
        for work in step
    ]


def read(bundle: Path) -> dict[str, Rows]:
    """The graph of the bundle in a folder."""
    return build(pq.read_table(bundle / WORKS), pq.read_table(bundle / EDITIONS))


def dump(tables: dict[str, Rows], folder: Path) -> None:
    """One Parquet file a node and relation."""
    for name, schema in SCHEMAS.items():
        pq.write_table(pa.Table.from_pylist(tables[name], schema=schema), folder / f"{name}.parquet")
