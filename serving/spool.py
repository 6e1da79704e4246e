"""What readers do while Kafka does not confirm it waits on disk until it does: a folder of files, one for each request.

A file is written under another name, synced and renamed, and only then accepted; it is removed when Kafka has it all.
So workers share the folder without locks, and without the one file of a queue on SQLite that could break for all; who
lives sends what a killed one has left. A file that two of them send counts once, by the ids of its events.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import uuid_utils
from pydantic import BaseModel, Field

from bookworks.contracts.records import Event, Reader
from bookworks.contracts.topics import INTERACTIONS, READERS
from bookworks.errors import TransientError
from bookworks.settings import Settings
from serving import metrics
from serving.decisions import Acknowledged, Outgoing, outgoing
from serving.repeat import Repeated

logger = logging.getLogger("bookworks.serving")

STREAM = "stream"
_ENDS = {READERS.name: ".readers", INTERACTIONS.name: ".jsonl"}  # of a file's name, by the topic of its records
_HALF, _BAD = ".tmp", ".bad"
_ABANDONED_S = 60.0  # nobody writes one file for so long
_BLOCK = 4096  # what the smallest file takes on a disk
_TEXT_MAX = 64 * 1024  # far above any event, far below what Kafka takes
_EVERY_S = 1.0
_TOGETHER = 1000  # records that are sent at once, or those of one larger file
_WITHIN_S = 10.0
_STEADY = {
    "max_block_ms": 5000,
    "request_timeout_ms": 5000,
    "delivery_timeout_ms": 9900,
    "reconnect_backoff_max_ms": 500,
    "bootstrap_timeout_ms": 3000,
}


class Line(BaseModel):
    """A line of a file: a record as it goes to Kafka."""

    key: str = Field(max_length=_TEXT_MAX)
    value: str = Field(max_length=_TEXT_MAX, description="JSON, as text.")
    headers: list[tuple[str, str]]


def encoded(records: Iterable[Outgoing]) -> bytes:
    """The content of a file, whose name tells the topic."""
    lines = [
        Line(key=key.decode(), value=value.decode(), headers=[(name, text.decode()) for name, text in headers])
        for _, key, value, headers in records
    ]
    return b"".join(line.model_dump_json().encode() + b"\n" for line in lines)


def decoded(content: bytes, topic: str) -> list[Outgoing]:
    """The records of a file.

    Raises:
        ValueError: it is none of ours, or damaged.
    """
    lines = [Line.model_validate_json(line) for line in content.splitlines()]
    if not lines or not content.endswith(b"\n"):
        raise ValueError("it ends too early")
    return [
        Outgoing(topic, line.key.encode(), line.value.encode(), [(name, text.encode()) for name, text in line.headers])
        for line in lines
    ]


class Spool:
    """The folder.

    Args:
        folder: on a disk that outlives the process.
        most_bytes: what its files may take together; several workers may go beyond it by what they write in seconds.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._lock, self._taken = threading.Lock(), 0
        self._sent: set[str] = set()  # and not removed: the disk refused

    def add(self, topic: str, records: Iterable[Outgoing]) -> None:
        """Keep a batch of one topic: when this returns it is on the disk for good.

        Raises:
            TransientError: the spool is full, or the disk is, or does not work; nothing of the batch is left.
        """
        content = encoded(records)
        try:
            self._take(_on_disk(len(content)))
            _write(self._folder, content, _ENDS[topic])
        except OSError as error:
            logger.warning("the spool takes nothing: %s", error)
            raise TransientError(
                "Neither the stream nor the spool took them; send the same again, with the same event_id",
                received=error,
            ) from error

    def _take(self, size: int) -> None:
        with self._lock:
            if self._taken + size > self._most:
                raise OSError(f"full: {self._taken} of {self._most} bytes are taken")
            self._taken += size

    def look(self) -> list[str]:
        """The files that wait, the oldest first. Measures the folder, and sets aside what a killed worker left half."""
        found = {name: (size, written_at) for name, size, written_at in _files(self._folder)}
        for name, (_, written_at) in found.items():
            if name.endswith(_HALF) and time.time() - written_at > _ABANDONED_S:
                self._set_aside(name, "it was left half written")
        stuck = self._sent & found.keys()
        self.remove(stuck)
        waiting = sorted(name for name in found.keys() - stuck if name.endswith(tuple(_ENDS.values())))
        with self._lock:
            self._taken = sum(size for size, _ in found.values())
        metrics.SPOOL_FILES.labels("waiting").set(len(waiting))
        metrics.SPOOL_FILES.labels("bad").set(sum(name.endswith(_BAD) for name in found))
        return waiting

    def read(self, name: str, topic: str) -> list[Outgoing]:
        """The records of a file; none where another worker has sent it, or it is broken and set aside."""
        try:
            return decoded((self._folder / name).read_bytes(), topic)
        except FileNotFoundError:
            return []
        except OSError as error:
            logger.error("%s of the spool cannot be read now: %s", name, error)
        except ValueError as error:
            self._set_aside(name, f"it is broken: {error}")
        return []

    def _set_aside(self, name: str, why: str) -> None:
        try:
            (self._folder / name).rename(self._folder / f"{name}-{uuid_utils.uuid7()}{_BAD}")
        except FileNotFoundError:
            return
        except OSError as error:
            why = f"{why}; {error}"
        logger.error("%s of the spool is set aside as %s: %s", name, _BAD, why)

    def remove(self, names: Iterable[str]) -> None:
        """Take files away that Kafka has; what the disk does not let go is never sent again, but tried again."""
        for name in names:
            self._sent.add(name)
            try:
                (self._folder / name).unlink(missing_ok=True)
            except OSError as error:
                logger.error("%s of the spool was sent and cannot be removed: %s", name, error)
            else:
                self._sent.discard(name)


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _files(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Name, bytes taken and time of writing of each file; there may be very many."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another worker has just removed it
                found = entry.stat()
                yield entry.name, _on_disk(found.st_size), found.st_mtime


def _write(folder: Path, content: bytes, end: str) -> None:
    """A new file, whole and synced.

    Raises:
        OSError: it is not, and no part of it is left.
    """
    name = str(uuid_utils.uuid7())
    half, whole = folder / f"{name}{_HALF}", folder / f"{name}{end}"
    try:
        with open(half, "xb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.rename(whole)
        _sync(folder)
    except OSError:
        for path in (half, whole):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    """Open for the service's user alone: readers' doings are in it."""
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Intake:
    """Takes what readers do: into Kafka, or while it is away into the spool, where that is set."""

    def __init__(self, settings: Settings, stream: Acknowledged) -> None:
        self._stream, self._away = stream, set[str]()  # topics that Kafka does not confirm for now
        folder, most = settings.interactions_spool_dir, settings.interactions_spool_mb * 1024 * 1024
        self._spool = Spool(folder, most) if folder else None
        self._steady = Acknowledged(settings, _WITHIN_S, _STEADY)
        self._repeated = Repeated("spool", _EVERY_S, self.deliver)

    def start(self) -> None:
        """Begin sending what waits; waits for nothing."""
        if self._spool is not None:
            self._repeated.start()

    def close(self) -> None:
        """Stop sending; what waits stays."""
        self._repeated.close()
        self._steady.close()

    def take(self, events: Sequence[Event], reader: Reader | None = None) -> list[str]:
        """Accept events, and what a new reader said of itself.

        Returns:
            `stream` when some of it waits in the spool, else nothing.

        Raises:
            TransientError: Kafka did not confirm all, and there is no spool or it took nothing.
        """
        told, done = outgoing(READERS, [reader] if reader else []), outgoing(INTERACTIONS, events)
        if self._spool is None:
            self._stream.send([*told, *done])
            return []
        left = self._left([*told, *done])
        if not left:
            return []
        for topic in _ENDS:  # the reader first: an account has its record, whatever comes of the loved books
            if waiting := [one for one in left if one.topic == topic]:
                self._spool.add(topic, waiting)
        metrics.FALLBACKS.labels(STREAM).inc()
        return [STREAM]

    def _left(self, records: list[Outgoing]) -> list[Outgoing]:
        """Those that Kafka did not confirm; of a topic that is known to be away it is not asked."""
        asked = [one for one in records if one.topic not in self._away]
        try:
            stored, _ = self._stream.confirmed(asked) if asked else ([], None)
        except TransientError:
            stored = [False] * len(asked)
        there = dict(zip(map(id, asked), stored, strict=True))
        left = [one for one in records if not there.get(id(one))]
        self._away.update(one.topic for one in left)
        return left

    def deliver(self) -> None:
        """Send what waits, of each topic the oldest first, until Kafka does not confirm.

        A file goes when Kafka has all of it.
        """
        if self._spool is None:
            return
        try:
            waiting = self._spool.look()
        except OSError as error:
            logger.error("the spool cannot be looked at: %s", error)
            waiting = []
        for topic, end in _ENDS.items():
            files = _batches(self._spool, topic, [name for name in waiting if name.endswith(end)])
            if all(self._sent(self._spool, topic, batch) for batch in files):
                self._away.discard(topic)

    def _sent(self, spool: Spool, topic: str, files: Mapping[str, list[Outgoing]]) -> bool:
        """Whether Kafka has all of these files; those that it has go."""
        try:
            stored, error = self._steady.confirmed([one for records in files.values() for one in records])
        except TransientError:
            return False
        if any(stored):
            self._away.discard(topic)
        answers = iter(stored)
        there = {name: all(list(islice(answers, len(records)))) for name, records in files.items()}
        spool.remove(name for name, whole in there.items() if whole)
        return error is None


def _batches(spool: Spool, topic: str, names: Iterable[str]) -> Iterator[dict[str, list[Outgoing]]]:
    """Files with their records, as many as are sent at once."""
    files: dict[str, list[Outgoing]] = {}
    length = 0
    for name in names:
        if records := spool.read(name, topic):
            files[name] = records
            length += len(records)
        if length >= _TOGETHER:
            yield files
            files, length = {}, 0
    if files:
        yield files
