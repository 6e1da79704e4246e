"""The map edition -> work of a bundle into Redis, replaced as a whole: edition ids and ISBN-13s.

python -m indexing.editions_to_online [--version V]
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from bookworks.adapters import redis
from bookworks.contracts.bundle import EDITIONS
from bookworks.settings import Settings
from indexing.entry import main


def work_of_edition(folder: Path) -> dict[str, str]:
    """edition id -> work id and ISBN-13 -> work id; an edition id wins over an ISBN that looks the same."""
    table = pq.read_table(folder / EDITIONS, columns=["edition_id", "isbn13", "work_id"])
    editions, isbns, works = (table[name].to_pylist() for name in ("edition_id", "isbn13", "work_id"))
    mapping = {isbn: work for isbn, work in zip(isbns, works, strict=True) if isbn}
    return mapping | dict(zip(editions, works, strict=True))


def step(settings: Settings, folder: Path) -> str:
    """Replace the map."""
    mapping = work_of_edition(folder)
    client = redis.connect(settings, timeout_s=30)
    try:
        redis.replace_work_of_edition(client, mapping)
    finally:
        client.close()
    return f"{len(mapping)} edition ids and ISBNs in Redis"


if __name__ == "__main__":
    main("indexing.editions_to_online", __doc__, step)
