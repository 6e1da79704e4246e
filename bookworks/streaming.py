"""The loop that all consumers share: read, validate, hand a batch to a sink, commit after the sink has stored it.

A sink's write can be repeated; so a crash between write and commit loses and doubles nothing.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata
from pydantic import ValidationError

from bookworks.adapters import kafka
from bookworks.contracts.records import RECORD_OF_TOPIC, Record
from bookworks.errors import TransientError
from bookworks.settings import Settings

log = logging.getLogger(__name__)

FLUSH_ROWS = 50_000
FLUSH_SECONDS = 2.0
POLL_MS = 250
POLL_RECORDS = 10_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
# Longer than any back-off, shorter than a night: a sink that cannot write keeps its partitions meanwhile.
MAX_POLL_INTERVAL_MS = 30 * 60 * 1000
SESSION_TIMEOUT_MS = 10_000  # so long a killed consumer's partitions wait for its successor
SEEKS = 5  # a gap that is still there after so many readings is no race
_GROUP_MOVED_ON = (CommitFailedError, IllegalGenerationError, UnknownMemberIdError, RebalanceInProgressError)


class BadValue(ValueError):
    """A Kafka value that is no record of its topic.

    Attributes:
        reason: short name by which it is counted.
        detail: what was seen.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


_VALIDATE = {topic: model.__pydantic_validator__.validate_json for topic, model in RECORD_OF_TOPIC.items()}


def read_record(topic: str, value: bytes | None) -> Record:
    """The record in a Kafka value.

    Raises:
        BadValue: it breaks the contract of its topic; the message says how.
    """
    if not value:
        raise BadValue("empty", "the record has no value")
    if b"\\u0000" in value:
        raise BadValue("nul_character", "a text holds the character NUL, which no store downstream takes")
    try:
        record: Record = _VALIDATE[topic](value)
    except ValidationError as error:
        raise _bad(error) from None
    return record


def _bad(error: ValidationError) -> BadValue:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:100]
    kind = first["type"]
    if kind == "json_invalid":
        return BadValue("not_json", first["msg"])
    if kind == "missing":
        return BadValue(f"missing_{where}", f"the field {where} is missing")
    if not where:
        return BadValue("breaks_contract" if kind == "value_error" else "not_an_object", first["msg"])
    return BadValue(f"bad_{first['loc'][0]}", f"{where}: {first['msg']}")


class Sink(Protocol):
    """Where a consumer's records go."""

    group: str
    topics: tuple[str, ...]

    def assigned(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Partitions are ours from these offsets on; returns those from which to read instead, if any."""

    def write(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Store consumer records, partition by partition in order of offset. May be called again with the same.

        Raises:
            TransientError: not stored; the loop tries again.
        """

    def not_committed(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """What was written is not ours any more: another consumer reads these offsets again."""


@dataclass
class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what happened to the assignment; called on the client's own thread, so it does no work."""

    revoked: set[TopicPartition] = field(default_factory=set)
    assigned: set[TopicPartition] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Partitions are taken away."""
        with self.lock:
            self.revoked |= set(revoked)
            self.assigned -= set(revoked)

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Partitions are given."""
        with self.lock:
            self.assigned |= set(assigned)

    def take(self) -> tuple[set[TopicPartition], set[TopicPartition]]:
        """Revoked and assigned partitions since the last call."""
        with self.lock:
            taken = self.revoked, self.assigned
            self.revoked, self.assigned = set(), set()
        return taken


class Stop:
    """Set by SIGTERM or SIGINT; the loop ends after storing what it holds."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self.asked = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT while inside."""
        before = {number: signal.signal(number, self) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class StartAgain(Exception):
    """A sink cannot go on in this state, as after a dead letter was not delivered: begin anew from the last commit."""


class Interrupted(Exception):
    """Asked to stop while a write could not succeed; nothing was committed, so nothing is lost."""


def patiently(action: Any, stop: Stop, what: str) -> Any:
    """Call `action` until it does not raise TransientError, with growing pauses up to 10 s.

    Raises:
        Interrupted: asked to stop while waiting.
    """
    pause = FIRST_PAUSE_S
    while True:
        try:
            return action()
        except TransientError as error:
            log.warning("%s failed, next try in %.1f s: %s", what, pause, error)
            until = time.monotonic() + pause
            while time.monotonic() < until:
                if stop.asked:
                    raise Interrupted(what) from error
                time.sleep(0.05)
            pause = min(2 * pause, LONGEST_PAUSE_S)


class Loop:
    """Reads the topics of a sink's group and hands it batches.

    Args:
        settings: where Kafka is.
        sink: where records go.
        flush_rows: a batch is written when it has so many records.
        flush_seconds: or when its first record waited so long.
    """

    def __init__(
        self, settings: Settings, sink: Sink, *, flush_rows: int = FLUSH_ROWS, flush_seconds: float = FLUSH_SECONDS
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._flush_rows, self._flush_seconds = flush_rows, flush_seconds
        self._buffer: dict[TopicPartition, list[Any]] = {}
        self._rows, self._since = 0, 0.0
        self._next: dict[TopicPartition, int] = {}  # the offset that must come next, where it is ours
        self._sought: dict[TopicPartition, int] = {}  # how often a gap was read again
        self._listener = _Listener()
        self._stop = Stop()
        self.stored = 0

    def run(self, until_end: bool = False) -> int:
        """Read until told to stop, or with `until_end` until the group has committed the end offsets of now.

        Returns:
            How many records were handed to the sink and committed.

        Raises:
            TransientError: the sink cannot go on; nothing of the batch in hand was committed, so a new process
                (or a new loop with a new sink) reads it again.
        """
        with self._stop.on_signals():
            try:
                self.consumer: KafkaConsumer = patiently(self._connect, self._stop, "connecting to Kafka")
            except Interrupted:
                return 0
            try:
                self._loop(until_end)
            except Interrupted as interrupted:
                log.warning("stopped while %s; it is done again at the next start", interrupted)
            except StartAgain as broken:
                raise TransientError(
                    f"The consumer of group {self._sink.group} gives up and must be started again",
                    received=broken, todo="nothing where a supervisor restarts it; else start it again.",
                ) from broken  # fmt: skip
            finally:
                with suppress(KafkaError):
                    self.consumer.close()
        return self.stored

    def _connect(self) -> KafkaConsumer:
        consumer = kafka.consumer(
            self._settings,
            group=self._sink.group,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            **kafka.BULK_READ,
        )
        consumer.subscribe(list(self._sink.topics), listener=self._listener)
        return consumer

    def _loop(self, until_end: bool) -> None:
        ends = patiently(self._ends, self._stop, "asking for end offsets") if until_end else {}
        while not self._stop.asked:
            if until_end and not self._rows and self._reached(ends):
                return
            polled = patiently(self._poll, self._stop, "reading from Kafka")
            self._follow_assignment(polled)
            self._take(polled)
            if (
                self._rows >= self._flush_rows
                or (self._rows and self._waited())
                or (until_end and self._rows and not polled)
            ):
                self._flush()
        self._flush()

    def _waited(self) -> bool:
        return self._left_s() <= 0

    def _left_s(self) -> float:
        """Seconds until what waits is to be flushed."""
        return self._since + self._flush_seconds - time.monotonic()

    def _poll(self) -> dict[TopicPartition, list[Any]]:
        wait_ms = min(POLL_MS, max(0, int(self._left_s() * 1000))) if self._rows else POLL_MS
        with kafka.translated(self._settings):
            polled: dict[TopicPartition, list[Any]] = self.consumer.poll(
                wait_ms, max_records=min(POLL_RECORDS, self._flush_rows)
            )
        return polled

    def _ends(self) -> dict[TopicPartition, int]:
        with kafka.translated(self._settings):
            return kafka.end_offsets(self.consumer, self._sink.topics)

    def _reached(self, ends: dict[TopicPartition, int]) -> bool:
        """Whether the whole group, not this consumer alone, has committed these offsets."""

        def ask() -> bool:
            with kafka.translated(self._settings):
                begins = self.consumer.beginning_offsets(list(ends))
                return all((self.consumer.committed(tp) or begins[tp]) >= end for tp, end in ends.items())

        return bool(patiently(ask, self._stop, "asking for committed offsets"))

    def _follow_assignment(self, polled: dict[TopicPartition, list[Any]]) -> None:
        """Forget records of lost partitions: they were not committed, so their next owner reads them."""
        revoked, assigned = self._listener.take()
        for tp in revoked:
            self._rows -= len(self._buffer.pop(tp, []))
            self._next.pop(tp, None)
        for tp in revoked | assigned:
            self._sought.pop(tp, None)
        if assigned:
            patiently(lambda: self._tell_assigned(assigned), self._stop, "taking over partitions")
        for tp in list(polled):
            polled[tp] = self._in_sequence(tp, polled[tp])

    def _in_sequence(self, tp: TopicPartition, records: list[Any]) -> list[Any]:
        """The records that follow on what we hold; a rebalance during the poll may have moved the position.

        What comes too early is read again. A gap is taken, and named in the log, where the broker has deleted
        what was in it (retention), or where it is still there after `SEEKS` readings under one assignment: then
        its offsets hold no records (marks of someone's transaction).
        """
        expected = self._next.get(tp)
        if expected is None:
            return []
        fresh = [record for record in records if record.offset >= expected] if records[0].offset < expected else records
        if fresh and fresh[0].offset > expected and not self._gap_is_real(tp, expected, fresh[0].offset):
            return []
        if fresh:
            self._sought.pop(tp, None)
            self._next[tp] = fresh[-1].offset + 1
        return fresh

    def _gap_is_real(self, tp: TopicPartition, expected: int, found: int) -> bool:
        """Whether no record is to be had from `expected` to before `found`; if unsure, the position goes back."""
        begin = patiently(lambda: self._begin(tp), self._stop, "asking for the first offset")
        if begin > expected:
            lost = min(begin, found)
            log.error("%s: offsets %d to %d are lost: deleted by the broker unread", tp, expected, lost - 1)
            self._next[tp] = expected = lost
            if lost == found:
                return True
        seeks = self._sought.get(tp, 0)
        if seeks >= SEEKS:
            log.error("%s: offsets %d to %d hold no records, yet the broker kept them", tp, expected, found - 1)
            return True
        self._sought[tp] = seeks + 1
        self.consumer.seek(tp, expected)
        return False

    def _begin(self, tp: TopicPartition) -> int:
        with kafka.translated(self._settings):
            begin: int = self.consumer.beginning_offsets([tp])[tp]
        return begin

    def _tell_assigned(self, assigned: set[TopicPartition]) -> None:
        with kafka.translated(self._settings):
            begins = self.consumer.beginning_offsets(list(assigned))
            committed = {tp: self.consumer.committed(tp) for tp in assigned}
        positions = {tp: begins[tp] if committed[tp] is None else max(committed[tp], begins[tp]) for tp in assigned}
        moved = self._sink.assigned(positions)
        with kafka.translated(self._settings):
            for tp, offset in moved.items():
                self.consumer.seek(tp, offset)
            if moved:
                # If they are another's by now, that one asks the sink for itself.
                with suppress(*_GROUP_MOVED_ON):
                    self.consumer.commit({tp: OffsetAndMetadata(offset, "", -1) for tp, offset in moved.items()})
        self._next |= positions | moved

    def _take(self, polled: dict[TopicPartition, list[Any]]) -> None:
        if polled and not self._rows:
            self._since = time.monotonic()
        for tp, records in polled.items():
            if not records:
                continue
            if tp in self._buffer:
                self._buffer[tp].extend(records)
            else:
                self._buffer[tp] = records
            self._rows += len(records)

    def _flush(self) -> None:
        """Write, then commit. When the group has moved on, the records are another consumer's: forget them."""
        if not self._rows:
            return
        batch = {tp: records for tp, records in self._buffer.items() if records}
        patiently(lambda: self._sink.write(batch), self._stop, f"writing {self._rows} records")
        offsets = {tp: OffsetAndMetadata(records[-1].offset + 1, "", -1) for tp, records in batch.items()}
        try:
            patiently(lambda: self._commit(offsets), self._stop, "committing offsets")
            self.stored += self._rows
        except _GROUP_MOVED_ON as error:
            log.warning("partitions went to another consumer before the commit: %s", error)
            self._sink.not_committed(batch)
        self._buffer, self._rows = {}, 0

    def _commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        with kafka.translated(self._settings, but=_GROUP_MOVED_ON):
            self.consumer.commit(offsets)
