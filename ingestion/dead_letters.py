"""Dead letters: rows and records that were refused, kept as they came, with the reason in their headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition

from bookworks.adapters import kafka
from bookworks.contracts.topics import DLQ_HEADERS, TOPICS
from bookworks.settings import Settings

REPLAYED = "replayed"  # reason of a mark: the letter at source_topic, _partition, _offset was sent again
DETAIL_LENGTH = 500
MAX_LETTER_BYTES = 1_000_000  # with its headers a letter stays under the 1 MiB that Kafka takes
FLUSH_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Letter:
    """One dead letter, or a mark that one was replayed.

    Attributes:
        topic, partition, offset: where the letter itself lies; topic without `.dlq`.
        headers: as in `bookworks.contracts.topics.DLQ_HEADERS`; a missing one is "".
        raw: the bytes as received, or their beginning.
    """

    topic: str
    partition: int
    offset: int
    headers: dict[str, str]
    raw: bytes

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return self.headers.get("reason", "")

    @property
    def truncated(self) -> bool:
        """Whether `raw` is only the beginning of what was refused."""
        return bool(self.headers.get("truncated"))

    @property
    def source_offset(self) -> tuple[int, int] | None:
        """Partition and offset of the refused record on its topic; None for a row of a file."""
        if self.headers.get("source_topic") != self.topic:
            return None
        try:
            return int(self.headers["source_partition"]), int(self.headers["source_offset"])
        except (KeyError, ValueError):
            return None

    @property
    def replayed(self) -> tuple[int, int] | None:
        """Partition and offset of the letter that this mark says was replayed; None for a letter."""
        if self.reason != REPLAYED:
            return None
        return int(self.headers["source_partition"]), int(self.headers["source_offset"])


class Sender:
    """A producer that notices what was not delivered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = kafka.producer(settings)
        self._failure: BaseException | None = None

    def __enter__(self) -> Sender:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the connections; what was not flushed may be lost, so flush first."""
        self._producer.close(timeout=5)

    def send(self, topic: str, value: bytes, key: bytes | None = None, headers: list[tuple[str, bytes]] | None = None,
             partition: int | None = None) -> None:  # fmt: skip
        """Hand one record to the producer.

        Raises:
            TransientError: an earlier one was not delivered, or the broker is away.
        """
        if self._failure is not None:
            raise kafka.away(self._settings, Exception(str(self._failure)))
        with kafka.translated(self._settings):
            future = self._producer.send(topic, value, key=key, headers=headers, partition=partition)
        future.add_errback(self._failed)

    def letter(self, topic: str, raw: bytes, **headers: object) -> None:
        """Send a dead letter of `topic`; header names are those of the contract.

        What is longer than Kafka takes is cut, and says so in its header `truncated`.
        """
        if len(raw) > MAX_LETTER_BYTES:
            headers["truncated"] = len(raw)
        given = {name: str(headers.get(name, "")) for name in DLQ_HEADERS}
        given["detail"] = given["detail"][:DETAIL_LENGTH]
        encoded = [(name, text.encode("utf-8", "backslashreplace")) for name, text in given.items()]
        self.send(TOPICS[topic].dlq, raw[:MAX_LETTER_BYTES], headers=encoded)

    def flush(self) -> None:
        """Wait until all is delivered.

        Raises:
            TransientError: something was not.
        """
        with kafka.translated(self._settings):
            self._producer.flush(timeout=FLUSH_TIMEOUT_S)
        if self._failure is not None:
            raise kafka.away(self._settings, Exception(str(self._failure)))

    def _failed(self, error: BaseException) -> None:
        self._failure = error


def read(settings: Settings, topic: str) -> Iterator[Letter]:
    """All letters and marks of a topic, partition by partition in order.

    Raises:
        TransientError: Kafka does not answer.
    """
    for record in read_all(settings, TOPICS[topic].dlq):
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
        yield Letter(topic, record.partition, record.offset, headers, record.value or b"")


def read_all(settings: Settings, name: str) -> Iterator[Any]:
    """All records of one Kafka topic up to its end of now."""
    consumer = kafka.consumer(settings, group=None, **kafka.BULK_READ)
    try:
        with kafka.translated(settings):
            ends = {tp: end for tp, end in kafka.end_offsets(consumer, [name]).items() if end}
            yield from _up_to(consumer, ends)
    finally:
        consumer.close()


def _up_to(consumer: Any, ends: dict[TopicPartition, int]) -> Iterator[Any]:
    begins = consumer.beginning_offsets(list(ends)) if ends else {}
    open_ends = {tp: end for tp, end in ends.items() if begins[tp] < end}
    if not open_ends:
        return
    consumer.assign(list(open_ends))
    for tp in open_ends:
        consumer.seek(tp, begins[tp])
    while open_ends:
        for tp, records in consumer.poll(1000, max_records=5000).items():
            yield from (record for record in records if record.offset < ends[tp])
        for tp in [tp for tp, end in open_ends.items() if consumer.position(tp) >= end]:
            del open_ends[tp]
            consumer.pause(tp)


def unreplayed(settings: Settings, topic: str) -> list[Letter]:
    """Letters of a topic that no mark says were replayed."""
    letters, done = [], set()
    for letter in read(settings, topic):
        if letter.replayed is not None:
            done.add(letter.replayed)
        else:
            letters.append(letter)
    return [letter for letter in letters if (letter.partition, letter.offset) not in done]
