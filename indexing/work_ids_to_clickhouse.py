"""Where each id that a work has or had leads, into ClickHouse: what was shown then is counted with its work of now.

python -m indexing.work_ids_to_clickhouse [--version V]
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from bookworks.adapters import clickhouse
from bookworks.clock import now
from bookworks.contracts.bundle import WORKS
from bookworks.settings import Settings
from indexing.entry import main

COLUMNS = ("work_id", "current_work_id", "bundle_version", "published_at")


def current_ids(folder: Path) -> dict[str, str]:
    """work id -> the id that it has in the bundle; a work's own id leads to itself."""
    schema = pq.read_schema(folder / WORKS)
    names = [name for name in ("work_id", "former_ids") if name in schema.names]
    works = pq.read_table(folder / WORKS, columns=names).to_pylist()
    former = {old: work["work_id"] for work in works for old in work.get("former_ids") or []}
    return former | {work["work_id"]: work["work_id"] for work in works}


def step(settings: Settings, folder: Path) -> str:
    """Add the bundle's ids; of an id that was there the last publish counts."""
    ids, published_at = current_ids(folder), now()
    clickhouse.ensure_tables(settings)
    rows = [(old, new, folder.name, published_at) for old, new in ids.items()]
    clickhouse.connect(settings).insert("work_ids", rows, column_names=COLUMNS)
    return f"{len(ids)} work ids, {sum(old != new for old, new in ids.items())} of them former, in ClickHouse"


if __name__ == "__main__":
    main("indexing.work_ids_to_clickhouse", __doc__, step)
