"""Files of a source to Kafka: each row is sent, a duplicate, or a dead letter with the reason; a report says how many.

python -m ingestion.files_to_kafka --path DIR [--source auto] [--limit N]
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from bookworks.adapters import kafka, s3
from bookworks.clock import now
from bookworks.contracts.records import SCHEMA_VERSION
from bookworks.contracts.reports import INGEST_PREFIX
from bookworks.contracts.topics import TOPICS
from bookworks.errors import TerminalError
from bookworks.settings import Settings
from bookworks.streaming import BadValue, read_record
from ingestion.dead_letters import Sender
from ingestion.rows import (
    Context,
    FileKind,
    Lookup,
    RawRow,
    Record,
    Refused,
    Source,
    SourceFile,
    check_header,
    numbered_lines,
    open_bytes,
)
from ingestion.sources import registry

Progress = Callable[["FileReport"], None]
PROGRESS_EVERY = 2_000


@dataclass
class FileReport:
    """What became of one file: `rows_in` = `sent` + `used` + `duplicates` + the sum of `rejected`.

    Attributes:
        used: rows of a look-up file that were taken, to help make the records of other files.
    """

    file: str
    kind: str
    topic: str
    rows_in: int = 0
    sent: int = 0
    used: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def adds_up(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.sent + self.used + self.duplicates + sum(self.rejected.values())


@dataclass
class LoadReport:
    """What became of one folder."""

    source: str
    folder: str
    started_at: datetime
    seconds: float = 0.0
    files: list[FileReport] = field(default_factory=list)
    not_loaded: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        """The report as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


def to_value(kind: FileKind, raw: bytes, common: Record, context: Context) -> tuple[Record, bytes]:
    """The record of a row, checked against the contract, and its bytes for Kafka.

    Raises:
        Refused: the row cannot become a record.
    """
    with refusing():
        record = {**common, **kind.parse(raw, context)}
        value = orjson.dumps(record)
        read_record(kind.topic, value)
    return record, value


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever a row's bytes make a parser raise is a refusal of the row.

    Raises:
        Refused: with the reason.
    """
    try:
        yield
    except BadValue as bad:
        raise Refused(bad.reason, bad.detail) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refused("unreadable", f"{type(error).__name__}: {error}") from None


class Duplicates:
    """Knows a row that came before in the same file; about 100 bytes for each row."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def check(self, identity: str, value: bytes) -> bool:
        """Whether the same record came before.

        Raises:
            Refused: another record with the same identity came before.
        """
        key, content = hash(identity), hash(value)
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = content
            return False
        if before != content:
            raise Refused("contradicts_earlier_row", f"{identity} came before with other values")
        return True


class Loader:
    """Sends the files of one folder.

    Args:
        sender: an open producer.
        partitioner: where a key goes.
        progress: called now and then with the report of the file in hand.
    """

    def __init__(self, sender: Sender, partitioner: kafka.Partitioner, progress: Progress | None = None) -> None:
        self._sender = sender
        self._partitioner = partitioner
        self._progress = progress or (lambda report: None)

    def load(self, path: Path, source: Source, limit: int | None = None) -> LoadReport:
        """Send every file of the source in `path`.

        Raises:
            TerminalError: a look-up file cannot be read; no record is sent that would lack what it says.
            TransientError: Kafka went away; loading again is safe, what was sent is then a known duplicate.
        """
        report = LoadReport(source.name, str(path), now(), not_loaded=registry.not_loaded(source, path))
        context: Context = {}
        kinds: tuple[FileKind | Lookup, ...] = (*source.lookups_in(path), *source.kinds)
        for kind in kinds:
            file = kind.find(path)
            if file is not None:
                rows = None if isinstance(kind, Lookup) else limit
                report.files.append(self._file(source, kind, file, context, rows))
        self._sender.flush()
        report.seconds = round((now() - report.started_at).total_seconds(), 3)
        return report

    def _file(
        self, source: Source, kind: FileKind | Lookup, path: Path, context: Context, limit: int | None
    ) -> FileReport:
        report = FileReport(path.name, kind.name, kind.topic)
        common = {"schema_version": SCHEMA_VERSION, "source": source.name, "received_at": _stamp(now())}
        duplicates = Duplicates()
        try:
            with open_bytes(path) as file:
                for row in itertools.islice(rows_of(kind, path, numbered_lines(file)), limit):
                    self._row(kind, row, common, context, duplicates, report, f"{source.name}/{kind.name}")
                    if report.rows_in % PROGRESS_EVERY == 0:
                        self._progress(report)
        except TerminalError as error:
            if isinstance(kind, Lookup):
                raise
            report.error = str(error)
        self._progress(report)
        return report

    def _row(self, kind: FileKind | Lookup, row: RawRow, common: Record, context: Context, duplicates: Duplicates,
             report: FileReport, letter_file: str) -> None:  # fmt: skip
        report.rows_in += 1
        try:
            if isinstance(kind, Lookup):
                _look_up(kind, row, context, report)
            else:
                self._record(kind, row, common, context, duplicates, report)
        except Refused as refused:
            report.rejected[refused.reason] = report.rejected.get(refused.reason, 0) + 1
            self._sender.letter(kind.topic, row.raw, reason=refused.reason, detail=refused.detail,
                                source_file=letter_file, source_line=row.line)  # fmt: skip

    def _record(self, kind: FileKind, row: RawRow, common: Record, context: Context, duplicates: Duplicates,
                report: FileReport) -> None:  # fmt: skip
        record, value = to_value(kind, row.raw, common, context)
        if duplicates.check(str(record[kind.identity]), value):
            report.duplicates += 1
            return
        key = str(record[TOPICS[kind.topic].key]).encode()
        self._sender.send(kind.topic, value, key=key, partition=self._partitioner.of(kind.topic, key))
        report.sent += 1


def _look_up(kind: Lookup, row: RawRow, context: Context, report: FileReport) -> None:
    with refusing():
        new = kind.add(row.raw, context)
    report.used += new
    report.duplicates += not new


def rows_of(kind: SourceFile, path: Path, lines: Iterator[RawRow]) -> Iterator[RawRow]:
    """Rows after the header, which is checked."""
    if kind.header is not None:
        first = next(lines, None)
        check_header(kind, path, first.raw if first else b"")
    return kind.split(lines)


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load(
    settings: Settings,
    path: Path,
    source_name: str = "auto",
    limit: int | None = None,
    progress: Progress | None = None,
) -> LoadReport:
    """Load a folder and keep the report in the lake.

    Raises:
        TerminalError: an unknown source, missing files, a file of another layout, a damaged file.
        TransientError: a server does not answer.
    """
    source = registry.choose(path, source_name)
    kafka.ensure_topics(settings)
    with Sender(settings) as sender:
        report = Loader(sender, kafka.Partitioner(settings), progress).load(path, source, limit)
    keep(settings, report)
    return report


def keep(settings: Settings, report: LoadReport) -> str:
    """Put the report into the lake; returns its key.

    Raises:
        TransientError: the lake does not answer.
    """
    body = report.to_json()
    digest = hashlib.blake2b(body, digest_size=4).hexdigest()
    key = f"{INGEST_PREFIX}{report.started_at:%Y%m%dT%H%M%S}-{report.source}-{digest}.json"
    s3.ensure_buckets(settings)
    s3.put(settings, settings.lake_bucket, key, body)
    return key


def failed(report: LoadReport) -> TerminalError | None:
    """The error to end with when a file could not be read."""
    broken = [f"{file.file}: {file.error}" for file in report.files if file.error]
    if not broken:
        return None
    return TerminalError("Some files could not be loaded", received="; ".join(broken), todo="mend them and load again.")


def main() -> Any:
    """Entry point: the same as `bookworks ingest load`."""
    from ingestion.cli import app

    return app(["load", *sys.argv[1:]])


if __name__ == "__main__":
    from bookworks.cli.entry import run

    run(main)
