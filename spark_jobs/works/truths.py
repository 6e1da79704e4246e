"""Truths made of public files: `python -m spark_jobs.works.truths --data FOLDER --output FOLDER`.

In: the folders `goodreads-editions`, `goodbooks-10k`, `book-crossing-explicit`. Out, for each of `english`, `french`,
`library` and `shops`: `NAME.csv` (record_id, title, author) and `NAME.truth.csv` (record_id, work), for
`bookworks works cluster | baselines`. The same files give the same truths.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from bookworks.cli.entry import run
from bookworks.isbn import isbns_in
from spark_jobs.works.files import write_csv

Row = dict[str, str]
Truth = list[tuple[str, str, str, str]]  # record_id, title, author, work; the last '' where it is not known
ENGLISH, LIBRARY = 0.15, 0.125  # share of the labelled works
_NOTE = re.compile(r"\s*\([^()]*\)\s*$")  # "(Dune, #1)", which no library writes


def read(path: Path) -> Iterator[Row]:
    """Rows of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def labelled(data: Path) -> list[Row]:
    """The Goodreads records, each with its `work`."""
    folder = data / "goodreads-editions"
    works = {row["record_id"]: row["work"] for row in read(folder / "truth.csv.gz")}
    return [row | {"work": works[row["record_id"]]} for row in read(folder / "records.csv.gz")]


def draw(*of: str) -> float:
    """A number from 0 to 1 that depends on the texts alone."""
    return zlib.crc32("|".join(of).encode()) % 10_000 / 10_000


def in_language(rows: Iterable[Row], language: str, share: float) -> Truth:
    """The records in one language of a share of the works."""
    return [(row["record_id"], row["Title"], row["Author"], row["work"]) for row in rows
            if row["Language"] == language and draw(language, row["work"]) < share]  # fmt: skip


def library(rows: Iterable[Row]) -> Truth:
    """At most two records of each of a share of the works, as a library writes them."""
    held: Counter[str] = Counter()
    found = []
    for row in sorted(rows, key=lambda row: (draw("row", row["record_id"]), row["record_id"])):
        if draw("work", row["work"]) < LIBRARY and held[row["work"]] < 2:
            held[row["work"]] += 1
            found.append((row["record_id"], *as_library(row), row["work"]))
    return found


def as_library(row: Row) -> tuple[str, str]:
    """ "Emma / by Jane Austen ; edited by Ronald Blythe" and "Austen, Jane, 1920-"; the years are made up."""
    first, *others = [name.strip() for name in row["Author"].split(",") if name.strip()] or [""]
    drawn, title = draw("form", row["record_id"]), _NOTE.sub("", row["Title"]) or row["Title"]
    title = title.replace(": ", " : ", 1)
    given, _, surname = first.rpartition(" ")
    dated = f", {1900 + round(80 * draw('born', first))}-" if draw("dated", first) < 0.6 else ""
    author = f"{surname}, {given}{dated}" if given else first
    if not first or drawn > 0.8:
        return f"{title} /", author
    further = f" ; edited by {others[0]}" if others else ""
    return f"{title} / {'by ' if drawn < 0.3 else ''}{first}{further}", author


def shops(data: Path) -> Truth:
    """goodbooks-10k, each record a work, and Book-Crossing, whose work is known where goodbooks-10k has its ISBN."""
    found, work_of = [], dict[str, str]()
    for row in read(data / "goodbooks-10k" / "books.csv.gz"):
        found.append((f"g{row['book_id']}", row["title"], row["authors"], row["work_id"]))
        work_of |= dict.fromkeys(isbns_in(row["isbn"].zfill(10) if row["isbn"] else ""), row["work_id"])
    for row in read(data / "book-crossing-explicit" / "BX-Books.csv.gz"):
        work = next((work_of[isbn] for isbn in isbns_in(row["ISBN"]) if isbn in work_of), "")
        found.append((f"b{row['ISBN']}", row["Book-Title"], row["Book-Author"], work))
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with the folders of the sources.")],
    output: Annotated[Path, typer.Option(help="Folder to write to.")],
) -> None:
    """Write the catalogues and their truths."""
    rows = labelled(data)
    makers: dict[str, Callable[[], Truth]] = {
        "english": lambda: in_language(rows, "English", ENGLISH),
        "french": lambda: in_language(rows, "French", 1),
        "library": lambda: library(rows),
        "shops": lambda: shops(data),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, make in makers.items():
        made = make()
        known = [(row[0], row[3]) for row in made if row[3]]
        write_csv(output / f"{name}.csv", ("record_id", "title", "author"), [row[:3] for row in made])
        write_csv(output / f"{name}.truth.csv", ("record_id", "work"), known)
        typer.echo(f"{name}: {len(made):,} records, {len(known):,} of {len({work for _, work in known}):,} known works")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    run(app)
