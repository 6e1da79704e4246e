"""A catalogue in a CSV file to a DataFrame of editions: any columns, any separator, broken rows to a report."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from bookworks.errors import ContractError, SettingError, TerminalError
from spark_jobs.works.records import FIELDS

NAMES = {"id": "edition_id"} | {name: name for name in FIELDS if name != "edition_id"}
_CHUNK = 20_000
_UNREADABLE = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of bytes that are not of the encoding
_SPOKEN = {"\\t": "\t"}  # shells hand over a tab as two characters
_MOST_LINES = 1000  # of a record whose texts hold line breaks …
_FEW_LINES = 20  # … and so many may look like rows of their own
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
        file: Parquet: `row` (place in the file, from 0) and `records.FIELDS`.
        rows: how many rows could be read.
        doubled: whether an id may stand in several of them.
        rejected: line number, reason and text of each that could not.
    """

    file: Path
    rows: int
    doubled: bool
    rejected: list[tuple[int, str, str]]

    def frame(self, spark: SparkSession) -> DataFrame:
        """What the file holds."""
        return spark.read.parquet(str(self.file))


def read_catalogue(
    path: Path, columns: Columns, folder: Path, separator: str = ",", encoding: str = "utf-8"
) -> Catalogue:
    """Read a file, row by row, into a Parquet file in `folder`, which must outlive the catalogue.

    Raises:
        TerminalError: no such file, or it is not what its name says.
        SettingError: unknown encoding, or a separator of more than one character.
        ContractError: a column is missing, or the file has no header.
    """
    rejected: list[tuple[int, str, str]] = []
    target = folder / "catalogue.parquet"
    rows, ids = 0, array("q")
    with pq.ParquetWriter(target, _SCHEMA) as writer:
        for chunk in _chunks(read_rows(path, columns, separator, encoding, rejected)):
            columns = (range(rows, rows + len(chunk)), *zip(*chunk, strict=True))
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            writer.write_table(pa.table(arrays, schema=_SCHEMA))
            rows += len(chunk)
            ids.extend([hash(row[0]) for row in chunk])
    doubled = len(np.unique(np.frombuffer(ids, np.int64))) < rows
    return Catalogue(target, rows, doubled, rejected)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a header and rows as CSV; returns how many rows.

    Raises:
        SettingError: the file cannot be written.
    """
    count = 0
    with _writing(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def write_frame(path: Path, rows: DataFrame) -> int:
    """Write a frame as CSV, in its order, a piece at a time; returns how many rows. Errors as of `write_csv`."""

    def pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            text = _as_csv(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            yield pa.RecordBatch.from_pydict({"text": [text], "rows": [batch.num_rows]})

    count = 0
    with _writing(path) as stream:
        stream.write(_as_csv([rows.columns]))
        for text, some in rows.mapInArrow(pieces, "text string, rows long").toLocalIterator():
            stream.write(text)
            count += some
    return count


def _as_csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def part_of(path: Path) -> Path:
    """Where a file is written until it is whole: beside it; a device or pipe is written as it is."""
    whole = path.resolve()
    return path if whole.exists() and not whole.is_file() else whole.with_name(f"{whole.name}.part")


@contextmanager
def _writing(path: Path) -> Iterator[IO[str]]:
    """A file that is there once it is whole: a run that is killed leaves what was there, and a file `.part`."""
    part = part_of(path)
    try:
        with part.open("w", newline="", encoding="utf-8") as stream:
            yield stream
        if part != path:
            part.replace(path.resolve())
    except OSError as error:
        raise SettingError(
            f"{path.name} cannot be written", received=f"{path}: {error.strerror}", todo="name another file."
        ) from None


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
    """The lines of a file; some can be given back."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._back: list[str] = []
        self.number = 0  # of lines taken

    def take(self) -> str:
        """The next line without NUL characters, '' at the end."""
        line = self._back.pop() if self._back else self._stream.readline().replace("\0", "")
        self.number += bool(line)
        return line

    def give_back(self, lines: list[str]) -> None:
        """Take these again."""
        self._back += reversed(lines)
        self.number -= len(lines)


def read_rows(
    path: Path, columns: Columns, separator: str, encoding: str, rejected: list[tuple[int, str, str]]
) -> Iterator[tuple[str | None, ...]]:
    """`records.FIELDS` of each row of a file; errors as of `read_catalogue`.

    Args:
        path: of the file.
        columns: which is which.
        separator: between fields; the two characters \\t are a tab.
        encoding: of the file.
        rejected: gets line number, reason and text of each row that cannot be read.
    """
    separator = _SPOKEN.get(separator, separator)
    if len(separator) != 1:
        allowed, todo = "one character, or \\t for a tab", "for example --separator ';'"
        raise SettingError("--separator is one character", received=separator, allowed=allowed, todo=todo)
    with _opened(path, encoding) as stream, _said_in_words(path, encoding):
        lines = _Lines(stream)
        header = next(iter(_parsed([lines.take().lstrip("\ufeff")], separator)), [])
        places = _places(header, columns, path)
        wanted = [places.get(name) for name in FIELDS]
        while taken := _record(lines):
            first = lines.number - len(taken) + 1
            found = _of_width(taken, len(header), separator)
            if len(taken) > 1 and (found is None or _swallowed(taken, len(header), separator)):
                lines.give_back(taken[1:])
                taken = taken[:1]
                found = _of_width(taken, len(header), separator)
            if found is None:
                count = len(next(iter(_parsed(taken, separator)), []))
                wrong = f"{count} fields where the header has {len(header)}"
                rejected.append((first, wrong, _shown(taken, encoding)))
                continue
            unreadable = any(not line.isascii() and _UNREADABLE.search(line) for line in taken)
            for at, row in enumerate(found):
                if unreadable and _UNREADABLE.search("\0".join(row)):
                    rejected.append((first + at, f"not {encoding}", _shown(taken, encoding)))
                elif not row[places["edition_id"]].strip():
                    rejected.append((first + at, "no id", _shown(taken, encoding)))
                else:
                    yield tuple([None if place is None else row[place] for place in wanted])


def _shown(lines: list[str], encoding: str) -> str:
    """What of a rejected record is reported."""
    return "".join(lines)[:500].encode(encoding, "replace").decode(encoding, "replace")


def _record(lines: _Lines) -> list[str]:
    """The lines of the next record: one, or more while a quote is open; none at the end."""
    taken = [lines.take()]
    if '"' not in taken[0]:  # as nearly all
        return taken if taken[0] else []
    quotes, escaped = _quotes(taken[0])
    while _open(quotes, escaped) and len(taken) < _MOST_LINES and (line := lines.take()):
        taken.append(line)
        more = _quotes(line)
        quotes, escaped = quotes + more[0], escaped + more[1]
    return taken


def _swallowed(taken: list[str], width: int, separator: str) -> bool:
    """Whether a stray quote, not a text of several lines, holds these together: it is never closed, or there are many
    lines of which most look like rows."""
    rows = sum(line.count(separator) == width - 1 for line in taken[1:-1])
    return _open(*_quotes("".join(taken))) or (len(taken) > _FEW_LINES and 2 * rows >= len(taken) - 2)


def _quotes(text: str) -> tuple[int, int]:
    """How many quotes there are, and how many of them are escaped."""
    return text.count('"'), text.count('\\"')


def _open(quotes: int, escaped: int) -> bool:
    """Whether a quote is open after so many, however they are escaped."""
    return quotes % 2 == 1 and (quotes - escaped) % 2 == 1


def _of_width(lines: list[str], width: int, separator: str) -> list[list[str]] | None:
    """The rows in these lines if all have the header's width; read with escaped quotes where that helps."""
    for escapes in (False, True):
        rows = _parsed(lines, separator, escapes)
        if all(len(row) == width for row in rows):
            return rows
        if not any('\\"' in line for line in lines):
            break
    return None


def _parsed(lines: list[str], separator: str, escapes: bool = False) -> list[list[str]]:
    """The rows of these lines, without blank ones; one empty row where they are no CSV."""
    if len(lines) == 1 and '"' not in lines[0] and "\r" not in lines[0]:  # as nearly all; a reader for each costs more
        bare = lines[0].removesuffix("\n")
        return [bare.split(separator)] if bare else []
    quoting: dict[str, Any] = {"escapechar": "\\", "doublequote": False} if escapes else {}
    whole = len(lines) > 1  # quotes that join lines have to be whole
    try:
        return [row for row in csv.reader(lines, delimiter=separator, strict=whole, **quoting) if row]
    except csv.Error:
        return [[]]


@contextmanager
def _said_in_words(path: Path, encoding: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise TerminalError(f"{path.name} cannot be read to its end", received=error, todo="fetch it again.") from None
    except UnicodeError as error:
        raise TerminalError(f"{path.name} is not {encoding}", received=error, todo="correct --encoding.") from None


def _places(header: list[str], columns: Columns, path: Path) -> dict[str, int]:
    names = [name.strip() for name in header]
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
