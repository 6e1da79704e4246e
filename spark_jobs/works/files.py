"""A catalogue in a CSV file to a DataFrame of editions: any columns, any separator, broken rows to a report."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from bookworks.errors import ContractError, SettingError, TerminalError
from spark_jobs.works.records import FIELDS

NAMES = {"id": "edition_id"} | {name: name for name in FIELDS if name != "edition_id"}
_CHUNK = 20_000
_SCHEMA = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in FIELDS)])
csv.field_size_limit(16 * 1024 * 1024)


@dataclass(frozen=True)
class Columns:
    """Which column of the file is which field.

    Attributes:
        of: field of `records.FIELDS` -> name of the column in the file.
    """

    of: dict[str, str]

    @classmethod
    def of_text(cls, text: str) -> Columns:
        """From `id=record_id,title=Title,…`.

        Raises:
            SettingError: a field that there is not, one twice, or no id.
        """
        found: dict[str, str] = {}
        for part in text.split(","):
            field, equals, column = (piece.strip() for piece in part.partition("="))
            if not equals or not column or field not in NAMES or NAMES[field] in found:
                raise SettingError("--columns cannot be read", received=part.strip() or text,
                                   allowed=f"field=column, each field once: {', '.join(NAMES)}",
                                   todo="for example id=record_id,title=Title,author=Author")  # fmt: skip
            found[NAMES[field]] = column
        if "edition_id" not in found:
            others = ", ".join(name for name in NAMES if name != "id")
            raise SettingError(
                "--columns names no id", received=text, allowed=f"id=… and any of {others}", todo="add it."
            )
        return cls(found)


@dataclass(frozen=True)
class Catalogue:
    """What was read of a file.

    Attributes:
        editions: `row` (place in the file, from 0) and `records.FIELDS`.
        rows: how many rows could be read.
        rejected: line number, reason and text of each that could not.
    """

    editions: DataFrame
    rows: int
    rejected: list[tuple[int, str, str]]


def read_catalogue(
    spark: SparkSession, path: Path, columns: Columns, folder: Path, separator: str = ",", encoding: str = "utf-8"
) -> Catalogue:
    """Read a file, row by row, into a Parquet file in `folder`, which must outlive the catalogue.

    Raises:
        TerminalError: no such file, or it is not what its name says.
        SettingError: unknown encoding, or a separator of more than one character.
        ContractError: a column is missing, or the file has no header.
    """
    rejected: list[tuple[int, str, str]] = []
    target = folder / f"{path.name}.parquet"
    rows = 0
    with pq.ParquetWriter(target, _SCHEMA) as writer:
        for chunk in _chunks(_rows(path, columns, separator, encoding, rejected)):
            numbered = [(rows + at, *row) for at, row in enumerate(chunk)]
            values = list(zip(*numbered, strict=True))
            writer.write_table(
                pa.table([pa.array(v, f.type) for v, f in zip(values, _SCHEMA, strict=True)], schema=_SCHEMA)
            )
            rows += len(chunk)
    return Catalogue(spark.read.parquet(str(target)), rows, rejected)


def _chunks(rows: Iterator[tuple[str | None, ...]]) -> Iterator[list[tuple[str | None, ...]]]:
    chunk: list[tuple[str | None, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Lines:
    """The lines of a file, and those since the last row began."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.number += 1
        self.taken.append(line)
        return line.replace("\0", "")


def _rows(
    path: Path, columns: Columns, separator: str, encoding: str, rejected: list[tuple[int, str, str]]
) -> Iterator[tuple[str | None, ...]]:
    with _opened(path, encoding) as stream:
        lines = _Lines(stream)
        try:
            reader = csv.reader(lines, delimiter=separator)
            header = next(reader, None)
        except TypeError:
            raise SettingError(
                "--separator is one character", received=separator, todo="for example --separator ';'"
            ) from None
        places = _places(header, columns, path)
        width = len(header or [])
        while True:
            lines.taken, first = [], lines.number + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                rejected.append((first, f"not CSV: {error}", "".join(lines.taken)[:500]))
                continue
            except (OSError, EOFError, gzip.BadGzipFile) as error:
                raise TerminalError(
                    f"{path.name} cannot be read to its end", received=error, todo="fetch the file again."
                ) from None
            raw = "".join(lines.taken)
            if not row:
                continue
            if len(row) != width:
                row = _escaped(raw, separator)
            if len(row) != width:
                rejected.append((first, f"{len(row)} fields where the header has {width}", raw[:500]))
            elif any("\udc80" <= c <= "\udcff" for c in raw):
                rejected.append(
                    (first, f"not {encoding}", raw[:500].encode(encoding, "replace").decode(encoding, "replace"))
                )
            elif not row[places["edition_id"]].strip():
                rejected.append((first, "no id", raw[:500]))
            else:
                yield tuple(row[places[name]] if name in places else None for name in FIELDS)


def _escaped(raw: str, separator: str) -> list[str]:
    """The fields of a row in which backslashes escape quotes."""
    try:
        return next(csv.reader(io.StringIO(raw), delimiter=separator, escapechar="\\", doublequote=False), [])
    except csv.Error:
        return []


def _places(header: list[str] | None, columns: Columns, path: Path) -> dict[str, int]:
    names = [name.strip().lstrip("\ufeff") for name in header or []]
    missing = sorted(column for column in columns.of.values() if column not in names)
    if missing or not names:
        raise ContractError(f"Columns are missing in {path.name}: {', '.join(missing) or 'all'}",
                            received=", ".join(names)[:500] or "no header", allowed="the columns that --columns names",
                            todo="check --columns, --separator and --encoding.")  # fmt: skip
    return {field: names.index(column) for field, column in columns.of.items()}


def _opened(path: Path, encoding: str) -> IO[str]:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding=encoding, errors="surrogateescape", newline="")
        return path.open(encoding=encoding, errors="surrogateescape", newline="")
    except LookupError:
        raise SettingError(
            "Unknown encoding", received=encoding, allowed="utf-8, latin-1, cp1252, …", todo="correct --encoding."
        ) from None
    except OSError as error:
        raise TerminalError(
            "The catalogue cannot be opened", received=f"{path}: {error.strerror}", todo="check the path."
        ) from None
