"""What the service writes to Kafka: decisions in the background, interactions only as acknowledged.

A decision never holds up an answer: it waits in a bounded queue, and is counted when it is dropped.
An interaction is accepted only when every in-sync replica has it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from bookworks.adapters import kafka
from bookworks.contracts.records import Decision, Event, Reader, Record
from bookworks.contracts.topics import DECISIONS, INTERACTIONS, Topic
from bookworks.errors import BookworksError, TransientError
from bookworks.settings import Settings
from serving import metrics, tracing
from serving.tracing import Headers

logger = logging.getLogger("bookworks.serving")

ACKNOWLEDGE_S = 2.0
_QUEUE = 10_000
_RETRY_S = 1.0
_TIMEOUTS_MAX = 3  # in a row; then the producer may be the cause
_QUICK: Mapping[str, Any] = {
    "linger_ms": 0,
    "max_block_ms": 1000,
    "request_timeout_ms": 1500,
    "delivery_timeout_ms": 1900,
    "reconnect_backoff_max_ms": 500,
    "bootstrap_timeout_ms": 1500,
}
_PATIENT = {
    "linger_ms": 50,
    "max_block_ms": 10_000,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": 60_000,
    "reconnect_backoff_max_ms": 1000,
    "bootstrap_timeout_ms": 5000,
}


def encoded(record: Record) -> bytes:
    """A record as it travels: JSON without empty fields."""
    return record.model_dump_json(exclude_none=True).encode()


class Outgoing(NamedTuple):
    """A record as it goes to Kafka."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def outgoing(topic: Topic, records: Iterable[Event | Reader]) -> list[Outgoing]:
    """Records, encoded, by their reader, with the running trace."""
    headers = tracing.headers()
    return [Outgoing(topic.name, record.user_id.encode(), encoded(record), headers) for record in records]


class Background:
    """Sends decisions from a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: queue.Queue[tuple[Decision, Headers] | None] = queue.Queue(_QUEUE)
        self._broken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def put(self, decision: Decision) -> None:
        """Take a decision; never waits, never fails."""
        try:
            self._waiting.put_nowait((decision, tracing.headers()))
        except queue.Full:
            metrics.DECISIONS_DROPPED.inc()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most `timeout_s`."""
        try:
            self._waiting.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        producer: KafkaProducer | None = None
        while (waiting := self._waiting.get()) is not None:
            if producer is not None and self._broken.is_set():
                _close(producer)
                producer = None
            while producer is None:
                self._broken.clear()
                producer = self._connect()
            self._send(producer, *waiting)
        if producer is not None:
            producer.close(timeout=3)

    def _connect(self) -> KafkaProducer | None:
        try:
            return kafka.producer(self._settings, **_PATIENT)
        except BookworksError as error:
            logger.warning("decisions wait: %s", error.what)
            time.sleep(_RETRY_S)
            return None

    def _send(self, producer: KafkaProducer, decision: Decision, headers: Headers) -> None:
        try:
            key, value = decision.user_id.encode(), encoded(decision)
            future = producer.send(DECISIONS.name, key=key, value=value, headers=headers)
            future.add_errback(self._dropped)
        except KafkaError as error:
            self._dropped(error)

    def _dropped(self, error: BaseException) -> None:
        metrics.DECISIONS_DROPPED.inc()
        logger.warning("a decision was dropped: %s", type(error).__name__)
        if is_fatal(error):
            self._broken.set()


def is_fatal(error: BaseException) -> bool:
    """Whether a producer may never send again after this: closed, fenced, its sequence or epoch lost, not allowed."""
    return not getattr(error, "retriable", False)


def _close(producer: KafkaProducer) -> None:
    """End a producer that failed, without waiting for it; others may still send with it."""
    threading.Thread(target=producer.close, kwargs={"timeout": ACKNOWLEDGE_S}, name="closing", daemon=True).start()


class Acknowledged:
    """Sends records and waits until Kafka has them.

    Args:
        settings: where Kafka is.
        within_s: how long it waits for all of a batch.
        options: of the producer, which gives up no later than that.
    """

    def __init__(
        self, settings: Settings, within_s: float = ACKNOWLEDGE_S, options: Mapping[str, Any] = _QUICK
    ) -> None:
        self._settings, self._within_s, self._options = settings, within_s, options
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._retry_at, self._timeouts = 0.0, 0

    def warm_up(self) -> None:
        """Connect ahead of the first request; that Kafka is away is no error yet."""
        try:
            producer = self._connected()
            producer.partitions_for(INTERACTIONS.name)
        except (BookworksError, KafkaError) as error:
            logger.warning("interactions do not reach Kafka for now: %s", error)

    def send(self, records: Sequence[Outgoing]) -> None:
        """Store records, all of them.

        Raises:
            TransientError: not all were acknowledged in time. Some may be stored: the caller repeats all with the
                same event ids, and each counts once.
        """
        _, error = self.confirmed(records)
        if error is not None:
            raise _unstored(error) from error

    def confirmed(self, records: Sequence[Outgoing]) -> tuple[list[bool], KafkaError | None]:
        """Store what can be stored: of each record whether it was acknowledged in time, and why one was not.

        Raises:
            TransientError: there is no connection.
        """
        deadline, producer = time.monotonic() + self._within_s, self._connected()
        stored, failed = [False] * len(records), None
        try:  # a producer that takes one record no more would let each of the others wait
            pending = []
            for one in records:
                pending.append(producer.send(one.topic, key=one.key, value=one.value, headers=one.headers))
        except KafkaError as error:
            failed = error
        for at, future in enumerate(pending):
            try:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
                stored[at] = True
            except KafkaError as error:
                failed = failed or error
        if failed is None:
            self._timeouts = 0
        else:
            self._failed(producer, failed)
        return stored, failed

    def _failed(self, producer: KafkaProducer, error: KafkaError) -> None:
        """Give up a producer that will not send again; the next record is sent with a new one."""
        with self._lock:
            self._timeouts += 1
            if self._producer is not producer or not (is_fatal(error) or self._timeouts >= _TIMEOUTS_MAX):
                return
            self._producer, self._timeouts = None, 0
        logger.warning("the producer of interactions is made anew after %s", type(error).__name__)
        _close(producer)

    def _connected(self) -> KafkaProducer:
        """The producer; made at the first use, and tried again at most once a second."""
        with self._lock:
            if self._producer is None:
                if time.monotonic() < self._retry_at:
                    raise _unstored(TimeoutError("tried a moment ago"))
                try:
                    self._producer = kafka.producer(self._settings, **self._options)
                except BookworksError as error:
                    self._retry_at = time.monotonic() + _RETRY_S
                    raise _unstored(error) from error
            return self._producer

    def close(self) -> None:
        """End the connection."""
        if self._producer is not None:
            self._producer.close(timeout=2)


def _unstored(error: Exception) -> TransientError:
    return TransientError(
        "The stream did not confirm in time; send the same again, with the same event_id",
        received=f"{type(error).__name__}: {error}",
    )
