"""What a loader is made of: raw rows of a file, how a row becomes a record, and how it is refused."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bookworks.errors import TerminalError
from bookworks.streaming import BadValue

MAX_ROW_BYTES = 256 * 1024  # a longer line is no row of any source; it is kept as pieces of this size
MAX_JOINED_LINES = 8  # a row with line breaks inside quotes spans at most so many lines

Record = dict[str, Any]
Context = dict[str, Any]


class Refused(BadValue):
    """A row that cannot become a record."""


class RawRow(NamedTuple):
    """One row as its file has it: number of its first line (from 1) and its bytes without the line end."""

    line: int
    raw: bytes


@dataclass(frozen=True)
class SourceFile:
    """What every kind of file has.

    Attributes:
        name: what it is called in reports.
        names: file names it may have, without `.gz`, relative to the folder.
        topic: where its records go, and its dead letters; of a look-up file, that of the records it helps to make.
        split: lines to rows; the default takes each line as a row.
        header: the first line as allowed (any one of these), or None where the file has none.
    """

    name: str
    names: tuple[str, ...]
    topic: str
    split: Callable[[Iterator[RawRow]], Iterator[RawRow]] = field(default=lambda lines: lines, kw_only=True)
    header: tuple[bytes, ...] | None = field(default=None, kw_only=True)

    def find(self, folder: Path) -> Path | None:
        """The file of this kind in `folder`, plain or gzipped."""
        for name in self.names:
            for candidate in (folder / name, folder / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        return None


@dataclass(frozen=True)
class FileKind(SourceFile):
    """A kind of file whose rows become records.

    Attributes:
        parse: bytes of a row to a record without the common fields; raises Refused or ValueError.
        identity: the field by which a repeated row is known.
        required: whether the source makes no sense without it.
    """

    parse: Callable[[bytes, Context], Record]
    identity: str
    required: bool = False


@dataclass(frozen=True)
class Lookup(SourceFile):
    """A small file that helps to make the records of others.

    Attributes:
        add: puts a row into the context; False where the same row is there already. Raises Refused or ValueError.
    """

    add: Callable[[bytes, Context], bool]


@dataclass(frozen=True)
class Source:
    """One data source: its files in the order of loading.

    Attributes:
        name: also the `source` of its records.
        kinds: its files.
        lookups: read before these, into the context; all of them or none.
    """

    name: str
    kinds: tuple[FileKind, ...]
    lookups: tuple[Lookup, ...] = ()

    def lookups_in(self, folder: Path) -> tuple[Lookup, ...]:
        """The look-up files, if all of them are in the folder: one says nothing without the others."""
        return self.lookups if all(lookup.find(folder) for lookup in self.lookups) else ()

    def fits(self, folder: Path) -> bool:
        """Whether all required files are there with a header that this source knows."""
        required = [kind for kind in self.kinds if kind.required]
        return all((path := kind.find(folder)) is not None and header_fits(kind, path) for kind in required)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The unpacked bytes of a plain or gzipped file.

    Raises:
        TerminalError: the file cannot be read, or its compression is damaged.
    """
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            yield io.BufferedReader(gzip.GzipFile(fileobj=plain), 1 << 16) if packed else plain  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error) as error:
        raise TerminalError(
            f"The file {path.name} cannot be read to its end",
            received=f"{type(error).__name__}: {error}",
            todo="get the file again; the rows before the damage are kept and may be loaded again without harm.",
        ) from error


def numbered_lines(file: BinaryIO) -> Iterator[RawRow]:
    """Lines with their numbers, without line ends; a line longer than `MAX_ROW_BYTES` comes in pieces."""
    number = 1
    while line := file.readline(MAX_ROW_BYTES):
        yield RawRow(number, line.rstrip(b"\r\n"))
        number += line.endswith(b"\n")


def header_fits(kind: FileKind, path: Path) -> bool:
    """Whether the first line of the file is a header of this kind (or the kind has none)."""
    if kind.header is None:
        return True
    try:
        with open_bytes(path) as file:
            return clean_header(file.readline(MAX_ROW_BYTES)) in kind.header
    except TerminalError:
        return False


def clean_header(line: bytes) -> bytes:
    """A header line without line end and byte order mark."""
    return line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf")


def check_header(kind: SourceFile, path: Path, line: bytes) -> None:
    """Refuse a file whose first line is not the header of its kind.

    Raises:
        TerminalError: with what came and what is allowed.
    """
    if kind.header is None or clean_header(line) in kind.header:
        return
    raise TerminalError(
        f"The file {path.name} has not the layout of {kind.name}",
        received=repr(line[:200].rstrip(b"\r\n")) if line else "an empty file",
        allowed=" or ".join(repr(header) for header in kind.header),
        todo="check that this is the original file; one that went through a spreadsheet has lost its quotes and zeros.",
    )


def joined(lines: Iterator[RawRow], complete: Callable[[bytes], bool]) -> Iterator[RawRow]:
    """Rows from lines where a quoted field may hold line breaks.

    A line that is no complete row is joined with those after it, as long as they are no complete rows
    themselves; when that makes a row it is yielded, else each line is yielded alone, to be refused by name.
    """
    pending: list[RawRow] = []
    for line in lines:
        if complete(line.raw):
            yield from _settle(pending, complete)
            pending = []
            yield line
            continue
        pending.append(line)
        whole = b"\n".join(row.raw for row in pending)
        if len(pending) > 1 and complete(whole):
            yield RawRow(pending[0].line, whole)
            pending = []
        elif len(pending) >= MAX_JOINED_LINES or len(whole) > MAX_ROW_BYTES:
            yield pending.pop(0)
    yield from _settle(pending, complete)


def _settle(pending: list[RawRow], complete: Callable[[bytes], bool]) -> Iterator[RawRow]:
    """What is left of lines that found no end: the longest tail that is a row, else each alone."""
    for start in range(len(pending)):
        tail = b"\n".join(row.raw for row in pending[start:])
        if len(pending) - start > 1 and complete(tail):
            yield RawRow(pending[start].line, tail)
            return
        yield pending[start]


def text_or_none(text: str) -> str | None:
    """The text without blanks around it, or None when nothing is left or it says NULL."""
    stripped = text.strip()
    return None if stripped in ("", "NULL") else stripped


def decode(raw: bytes, encoding: str) -> str:
    """The text of a row.

    Raises:
        Refused: the bytes are not of that encoding.
    """
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(f"not_{encoding.replace('-', '')}", str(error)) from None


def whole_number(text: str, name: str, low: int, high: int) -> int:
    """A whole number of plain digits within limits.

    Raises:
        Refused: it is none, or out of range.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(f"bad_{name}", f"{name} is {text[:60]!r}, allowed is a whole number {low} to {high}")
    number = int(text)
    if not low <= number <= high:
        raise Refused(f"bad_{name}", f"{name} is {number}, allowed is {low} to {high}")
    return number
