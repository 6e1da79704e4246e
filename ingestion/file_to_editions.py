"""A catalogue file of any source -> Parquet of editions, without a server.

    python -m ingestion.file_to_editions BX-Books.csv.gz --out editions.parquet

A file of a known source is told by its header; any other CSV by the names of its columns. Rows that cannot be read are
counted and left out.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from bookworks.cli.entry import run
from bookworks.contracts.editions import EDITIONS
from bookworks.contracts.topics import CATALOGUE
from bookworks.errors import ContractError
from ingestion.files_to_kafka import refusing, rows_of
from ingestion.rows import FileKind, Refused, header_fits, numbered_lines, open_bytes
from ingestion.sources.registry import SOURCES

# Field -> names that a column of it may have, folded; the first that is there counts.
COLUMNS = {
    "edition_id": ("edition_id", "record_id", "id", "isbn13", "isbn", "asin", "book_id"),
    "title": ("title", "book-title", "name", "original_title"),
    "author": ("author", "authors", "book-author"),
    "isbn": ("isbn13", "isbn", "isbn valid", "asin"),
    "publisher": ("publisher", "book-publisher"),
    "year": ("year", "year-of-publication", "original_publication_year", "publication_year"),
    "language": ("language", "language_code"),
    "series": ("series",),
}
SEPARATORS = ",;\t|"


def editions_of(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    """The editions of a file, as its source wrote them; what could not be read is counted in `skipped`.

    Raises:
        ContractError: no such file, or nothing that tells a title.
    """
    if not path.is_file():
        raise ContractError("There is no such catalogue file", received=path, todo="give the path of a file.")
    kind = next(
        (
            k
            for s in SOURCES.values()
            for k in s.kinds
            if k.topic == CATALOGUE.name and k.header and header_fits(k, path)
        ),
        None,
    )
    return _of_csv(path, skipped) if kind is None else _of_source(kind, path, skipped)


def _of_source(kind: FileKind, path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    with open_bytes(path) as file:
        for row in rows_of(kind, path, numbered_lines(file)):
            try:
                with refusing():
                    yield kind.parse(row.raw, {})
            except Refused as refused:
                skipped[refused.reason] += 1


def _of_csv(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
        separator = max(SEPARATORS, key=first.count)
        header = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
        places = {
            field: next((header.index(n) for n in names if n in header), None) for field, names in COLUMNS.items()
        }
        if places["title"] is None or places["edition_id"] is None:
            raise ContractError(
                f"{path.name} is no catalogue of a known source",
                received=", ".join(header)[:200],
                allowed="a file of a source (docs/sources), or a CSV with an id or ISBN and a title",
            )
        for row in csv.reader(file, delimiter=separator):
            if len(row) == len(header):
                yield {field: row[at] or None for field, at in places.items() if at is not None}
            else:
                skipped["wrong_field_count"] += 1


def convert(
    path: Annotated[Path, typer.Argument(help="A catalogue file of any source, plain or gzipped.")],
    out: Annotated[Path, typer.Option(help="Parquet to write.")],
) -> None:
    """Write the editions of a catalogue file."""
    skipped: Counter[str] = Counter()
    rows = [{name: _text(row.get(name)) for name in EDITIONS.names} for row in editions_of(path, skipped)]
    pq.write_table(pa.Table.from_pylist(rows, EDITIONS), out)
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    print(f"{path.name}: {len(rows)} editions" + (f"; left out: {left_out}" if left_out else ""))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


if __name__ == "__main__":
    run(lambda: typer.run(convert))
