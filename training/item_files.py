"""What a split's works are: its numbers to ISBNs (`--items`), ISBNs to title, author, house, year (`--catalogue`).

A catalogue is read and described by the steps that do so for the platform, each as a process of its own; they meet here
through Parquet (`bookworks.contracts.editions`).
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bookworks.contracts.editions import DESCRIBED, EDITIONS
from bookworks.errors import ContractError
from bookworks.isbn import to_isbn13
from training.dataset import Dataset

FIELDS = tuple(name for name in DESCRIBED.names if name not in {"edition_id", "isbns"})


def read_items(path: Path) -> dict[str, tuple[str, str]]:
    """number -> (ISBN or ASIN, name or ''), of a file with the columns `org_id remap_id [name …]`, blank separated.

    Raises:
        ContractError: no such file, or another header.
    """
    if not path.is_file():
        raise ContractError("There is no such items file", received=path, todo="give the path of a file.")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        header = file.readline().split()
        if header[:2] != ["org_id", "remap_id"]:
            raise ContractError(
                f"{path.name} does not map numbers to ISBNs",
                received=" ".join(header)[:100],
                allowed="a first line `org_id remap_id`, and `item_name` where names follow",
            )
        named = header[2:3] == ["item_name"]
        rows = (line.rstrip("\n").split(" ", 2) for line in file if line.strip())
        return {row[1]: (row[0], row[2] if named and len(row) > 2 else "") for row in rows}


def with_catalogue(data: Dataset, items: Path | None, catalogues: Sequence[Path]) -> Dataset:
    """The dataset whose works have the columns that the catalogues tell; the first that tells a value counts."""
    numbers: list[str] = data.works["work_id"].to_pylist()
    known = read_items(items) if items else {number: (number, "") for number in numbers}
    ids = [known.get(number, ("", "")) for number in numbers]
    named = [{"edition_id": str(row), "title": name, "isbn": isbn} for row, (isbn, name) in enumerate(ids) if name]
    tables = [described(path) for path in catalogues]
    if named:
        tables.append(_describe(pa.Table.from_pylist(named, EDITIONS)))
    told = _by_isbn(tables)
    rows = [told.get(to_isbn13(isbn) or isbn, {}) for isbn, _ in ids]
    columns = {name: pa.array([row.get(name) for row in rows], DESCRIBED.field(name).type) for name in FIELDS}
    columns["year_bin"] = pa.array([year_bin(row.get("year")) for row in rows], pa.string())
    return replace(data, works=pa.table({"work_id": numbers} | columns))


def year_bin(year: int | None) -> str | None:
    """Label of a year of publication, as the macro `year_bin` in dbt_project/macros/bins.sql gives it to the marts."""
    if year is None:
        return None
    if year < 1900:
        return "before 1900"
    return "1900-1949" if year < 1950 else f"{year // 10 * 10}s"


def _by_isbn(tables: Sequence[pa.Table]) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for table in tables:
        for row in table.to_pylist():
            for isbn in row["isbns"]:
                known = told.setdefault(isbn, {})
                known.update({name: row[name] for name in FIELDS if known.get(name) is None})
    return told


def described(catalogue: Path) -> pa.Table:
    """`DESCRIBED` of a catalogue file.

    Raises:
        ContractError: the file is no catalogue; the message is that of the step which read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        editions = Path(folder) / "editions.parquet"
        _step("ingestion.file_to_editions", catalogue, editions)
        return _describe(pq.read_table(editions))


def _describe(editions: pa.Table) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "editions.parquet", Path(folder) / "described.parquet"
        pq.write_table(editions, source)
        _step("spark_jobs.describe_editions", source, out)
        return pq.read_table(out)


def _step(module: str, source: Path, out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, str(source), "--out", str(out)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ContractError(f"{source.name} cannot be used as a catalogue", received=said[-1].removeprefix("error: "))
