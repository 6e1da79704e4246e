"""marts -> Parquet in the workspace and in the lake: what was known at `snapshot.as_of`.

Interactions are folded by `marts.interactions_as_of(t)`, from the events known at that time alone. Popularity and every
other total is counted again from these, so that nothing from later leaks in; of works and readers only what does
not change with events is taken (ids, text, age bin, country). Out: data/snapshot and
s3://<lake>/snapshots/<id>/, the id being a hash of the content. Run: `python -m training.snapshot` in a workspace.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from bookworks.adapters import postgres, s3
from bookworks.cli.entry import run
from bookworks.contracts import warehouse
from bookworks.contracts.lake import UTC_US, snapshot_prefix
from bookworks.errors import ContractError
from bookworks.settings import Settings, get_settings
from training.files import METRICS, SNAPSHOT, write_json
from training.params import Params, load_params

ID_FILE = "id.json"

SCHEMAS: dict[str, pa.Schema] = {
    "interactions": pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("work_id", pa.string(), nullable=False),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("occurred_at", UTC_US),
        ]
    ),
    "works": pa.schema(
        [
            pa.field("work_id", pa.string(), nullable=False),
            pa.field("former_ids", pa.list_(pa.string())),  # of works that were merged into it
            pa.field("title", pa.string(), nullable=False),
            pa.field("original_title", pa.string()),
            pa.field("author", pa.string()),
            pa.field("author_id", pa.string()),
            pa.field("author_name", pa.string()),
            pa.field("author_aliases", pa.list_(pa.string())),
            pa.field("series", pa.string()),
            pa.field("series_id", pa.string()),
            pa.field("series_number", pa.float64()),
            pa.field("publisher", pa.string()),
            pa.field("year", pa.int32()),
            pa.field("year_bin", pa.string()),
            pa.field("language", pa.string()),
            pa.field("subjects", pa.list_(pa.string())),
            pa.field("image_url", pa.string()),
        ]
    ),
    "readers": pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("age_bin", pa.string()),
            pa.field("country", pa.string()),
        ]
    ),
    "editions": pa.schema(
        [
            pa.field("edition_id", pa.string(), nullable=False),
            pa.field("isbn13", pa.string()),
            pa.field("work_id", pa.string(), nullable=False),
        ]
    ),
}

QUERIES = {
    "interactions": """
        select user_id, work_id, weight::float8, occurred_at from {interactions}(%(as_of)s)
        where weight > 0
        order by user_id collate "C", work_id collate "C" """,
    "works": """
        select work_id, former_ids, title, original_title, author, author_id, author_name, author_aliases,
               series, series_id, series_number::float8, publisher, year::int, year_bin::text, language,
               subjects, image_url
        from {works}
        left join (
            select current_work_id as work_id, array_agg(work_id order by work_id collate "C") as former_ids
            from {work_ids} where work_id <> current_work_id group by current_work_id
        ) as former using (work_id)
        left join (
            select author_id, name as author_name, aliases as author_aliases from {authors}
        ) as writer using (author_id)
        order by work_id collate "C" """,
    "readers": """
        select user_id, age_bin::text, country from {readers} order by user_id collate "C" """,
    "editions": """
        select ew.edition_id, e.isbn13, ew.work_id
        from {edition_works} ew join {editions} e using (edition_id)
        where ew.work_id in (select work_id from {works}) order by ew.edition_id collate "C" """,
}
TABLES = {
    "interactions": f"{warehouse.INTERACTIONS}_as_of",
    "works": warehouse.WORKS,
    "authors": warehouse.AUTHORS,
    "work_ids": warehouse.WORK_IDS,
    "readers": warehouse.READERS,
    "editions": f"{warehouse.RAW}.editions",
    "edition_works": f"{warehouse.RAW}.edition_works",
}


class SnapshotParams(Params):
    """Section `snapshot`."""

    as_of: datetime | None = None


def read_marts(settings: Settings, as_of: datetime) -> dict[str, pa.Table]:
    """The four tables as known at `as_of`, in one transaction, rows in key order.

    Raises:
        TransientError: Postgres does not answer.
        ContractError: a mart or a column is missing.
    """
    with postgres.connect(settings, settings.warehouse_db) as db:
        db.execute("set transaction isolation level repeatable read read only")
        return {name: _read(db, name, as_of) for name in SCHEMAS}


def _query(name: str) -> sql.Composed:
    tables = {key: sql.Identifier(*table.split(".")) for key, table in TABLES.items()}
    return sql.SQL(QUERIES[name]).format(**tables)


def _read(db: psycopg.Connection[Any], name: str, as_of: datetime) -> pa.Table:
    try:
        with db.cursor(binary=True) as cursor:
            rows = cursor.execute(_query(name), {"as_of": as_of}).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
        raise ContractError(
            f"The warehouse has not what the snapshot of {name} reads",
            received=str(error).splitlines()[0],
            todo="build the marts: `bookworks dbt -- build`.",
        ) from None
    schema = SCHEMAS[name]
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def save(tables: dict[str, pa.Table], folder: Path) -> str:
    """Write the tables and `id.json`; returns the snapshot's id, the same for the same content."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(table, path)
        digest.update(path.read_bytes())
    snapshot_id = digest.hexdigest()[:16]
    write_json(folder / ID_FILE, {"snapshot_id": snapshot_id})
    return snapshot_id


def copy_to_lake(settings: Settings, folder: Path, snapshot_id: str) -> None:
    """Keep the snapshot in the lake; one that is there already is left as it is."""
    prefix = snapshot_prefix(snapshot_id)
    if f"{prefix}{ID_FILE}" not in s3.list_keys(settings, settings.lake_bucket, prefix):
        s3.upload_folder(settings, folder, settings.lake_bucket, prefix, last=ID_FILE)


def main() -> None:
    """Stage `snapshot`."""
    settings = get_settings()
    as_of = load_params("snapshot", SnapshotParams).as_of or datetime.now(UTC)
    tables = read_marts(settings, as_of)
    snapshot_id = save(tables, SNAPSHOT)
    copy_to_lake(settings, SNAPSHOT, snapshot_id)
    write_json(METRICS / "snapshot.json", {name: table.num_rows for name, table in tables.items()})


if __name__ == "__main__":
    run(main)
