"""Kafka: producer, consumer and admin with the platform's settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.partitioner.default import murmur2

from bookworks.contracts.topics import TOPICS
from bookworks.errors import TransientError
from bookworks.settings import Settings

# For consumers that read everything: fewer, larger answers of the broker.
BULK_READ: dict[str, Any] = {
    "fetch_max_bytes": 32 * 1024 * 1024,
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    "fetch_max_wait_ms": 200,
    "metrics_enabled": False,
}
_METADATA_TRIES, _METADATA_PAUSE_S = 20, 0.1


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments that every Kafka client takes."""
    config: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config |= {
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return config


def producer(settings: Settings, **options: Any) -> KafkaProducer:
    """An idempotent producer: a record is acknowledged by all in-sync replicas, and stored once."""
    defaults: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 20,
        "batch_size": 256 * 1024,
        "compression_type": "lz4",
    }
    try:
        return KafkaProducer(**connection(settings), **(defaults | options))
    except KafkaError as error:
        raise away(settings, error) from error


def consumer(settings: Settings, *topics: str, group: str | None, **options: Any) -> KafkaConsumer:
    """A consumer that commits only when told to, and starts a new group at the beginning."""
    defaults: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    try:
        made = KafkaConsumer(*topics, group_id=group, **connection(settings), **(defaults | options))
    except KafkaError as error:
        raise away(settings, error) from error
    _remember_joins(made)
    return made


def _remember_joins(consumer: KafkaConsumer) -> None:
    """Keep a join under way in mind when a poll ends before it: kafka-python 3.0.12 asks only why it began.

    New metadata starts a join; its leader then takes note of them, so that nothing seems to call for a join any more.
    If the poll ended in between, nobody fetched the answer, and the consumer stayed without partitions for good.
    """
    coordinator = consumer._coordinator
    if coordinator is None:
        return
    asked = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: asked() or coordinator._join_task is not None


def end_offsets(consumer: KafkaConsumer, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """The end offset (one past the last) of each partition of the topics.

    Raises:
        TransientError: the broker names no partition of a topic.
    """
    partitions = [TopicPartition(t, p) for t in topics for p in _partitions(consumer, t)]
    ends: dict[TopicPartition, int] = consumer.end_offsets(partitions) if partitions else {}
    return ends


def _partitions(consumer: KafkaConsumer, topic: str) -> list[int]:
    """The client's answer is empty, too, while it waits for an answer that it asked for before: so ask again."""
    for _ in range(_METADATA_TRIES):
        if found := consumer.partitions_for_topic(topic):
            return sorted(found)
        time.sleep(_METADATA_PAUSE_S)
    raise TransientError(
        f"Kafka names no partition of the topic {topic}",
        received="no such topic",
        todo="start the line with `bookworks up`, which makes the topics.",
    )


class Partitioner:
    """The partition of a key, by the hash that every Kafka client uses (murmur2), remembered for keys seen.

    The hash is slow in Python, and a reader's events come in runs.
    """

    _REMEMBERED = 200_000

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partitions: dict[str, int] = {}
        self._known: dict[bytes, int] = {}

    def of(self, topic: str, key: bytes) -> int:
        """Partition of `key` on `topic`.

        Raises:
            TransientError: Kafka does not answer.
        """
        hashed = self._known.get(key)
        if hashed is None:
            if len(self._known) >= self._REMEMBERED:
                self._known.clear()
            hashed = self._known[key] = murmur2(key) & 0x7FFFFFFF
        count = self._partitions.get(topic) or self._count(topic)
        return hashed % count

    def _count(self, topic: str) -> int:
        client = admin(self._settings)
        try:
            with translated(self._settings):
                described = client.describe_topics([topic])
        finally:
            client.close()
        self._partitions[topic] = max(1, len(described[0]["partitions"]))
        return self._partitions[topic]


@contextmanager
def translated(settings: Settings, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Kafka's errors leave as ours, save those of `but`.

    Raises:
        TransientError: the broker does not answer, or not as it should.
    """
    try:
        yield
    except but:
        raise
    except KafkaError as error:
        raise away(settings, error) from error


def admin(settings: Settings) -> KafkaAdminClient:
    """An admin client."""
    try:
        return KafkaAdminClient(**connection(settings))
    except KafkaError as error:
        raise away(settings, error) from error


def ensure_topics(settings: Settings) -> None:
    """Make the platform's topics and their dead-letter topics where they are missing."""
    client = admin(settings)
    try:
        present = set(client.list_topics())
        for topic in TOPICS.values():
            for name in (topic.name, topic.dlq):
                if name not in present:
                    _create(client, settings, name, topic.retention_ms)
    finally:
        client.close()


def _create(client: KafkaAdminClient, settings: Settings, name: str, retention_ms: int) -> None:
    new = NewTopic(
        name,
        num_partitions=settings.kafka_partitions,
        replication_factor=settings.kafka_replication,
        # The broker's clock dates a record: a producer's wrong clock cannot put it into another day of the lake.
        topic_configs={"retention.ms": str(retention_ms), "message.timestamp.type": "LogAppendTime"},
    )
    with suppress(TopicAlreadyExistsError):
        client.create_topics([new])


def away(settings: Settings, error: Exception) -> TransientError:
    """Our error for a broker that does not answer."""
    return TransientError(
        f"Kafka does not answer at {settings.kafka_bootstrap}",
        received=f"{type(error).__name__}: {error}",
        todo="check `bookworks status kafka`, BOOKWORKS_KAFKA_HOST, BOOKWORKS_KAFKA_PORT and the password.",
    )
