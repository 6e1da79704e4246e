"""Clustering a generated catalogue into works: whole, and again after one record in a hundred has changed.

Seconds are counted by `bookworks works cluster` itself: from the file to the file, Spark's start left out.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from shutil import rmtree

from analytics.bench.command import bookworks
from analytics.bench.demo import MemorySampler
from analytics.bench.report import Figure
from bookworks.settings import Settings

FIELDS = ("title", "author", "isbn", "publisher", "year", "language", "series", "format")
ONE_IN = 100


def measure(settings: Settings, folder: Path, works: int, rounds: int) -> tuple[list[Figure], int]:
    """The figures, and how many records there were."""
    bookworks(settings, "simulate", "catalogue", f"--works={works}", f"--out={folder}")
    records = 0
    whole, rate, delta, peaks = [], [], [], []
    for _ in range(rounds):
        rmtree(folder / "kept", ignore_errors=True)
        sampler = MemorySampler(settings.state_dir)
        sampler.start()
        done = cluster(settings, folder, "records.csv")
        peaks.append(sampler.stop())
        records = int(done["records"])
        change(folder / "records.csv", folder / "changed.csv")
        whole.append(done["seconds"])
        rate.append(records / done["seconds"])
        delta.append(cluster(settings, folder, "changed.csv")["seconds"])
    figures = [
        Figure("whole", "s", whole), Figure("speed", "records/s", rate),
        Figure("one_percent_changed", "s", delta, baseline=whole), Figure("peak_memory", "MiB", peaks),
    ]  # fmt: skip
    return figures, records


def cluster(settings: Settings, folder: Path, name: str) -> dict[str, float]:
    """What one run says of itself."""
    columns = ",".join(["id=edition_id", *(f"{field}={field}" for field in FIELDS)])
    paths = [f"--input={folder / name}", f"--output={folder / 'works.csv'}", f"--keep={folder / 'kept'}"]
    said = bookworks(settings, "works", "cluster", *paths, f"--columns={columns}", "--json")
    return dict(json.loads(said.splitlines()[-1]))


def change(before: Path, after: Path) -> None:
    """The same records, of which one in a hundred is gone, another way of writing its title, or new, in turn."""
    with before.open(newline="", encoding="utf-8") as source, after.open("w", newline="", encoding="utf-8") as target:
        reader, writer = csv.DictReader(source), csv.DictWriter(target, ["edition_id", *FIELDS], lineterminator="\n")
        writer.writeheader()
        for n, row in enumerate(reader):
            turn = n // ONE_IN % 3 if n % ONE_IN == 0 else None
            if turn != 0:
                writer.writerow(row | {"title": f"{row['title']}, revised"} if turn == 1 else row)
            if turn == 2:
                writer.writerow(row | {"edition_id": f"{row['edition_id']}-new", "isbn": ""})
