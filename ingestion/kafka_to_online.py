"""Kafka to Redis: what readers did lately and who they are, as `bookworks.contracts.online` says.

    python -m ingestion.kafka_to_online [--until-end]

Every write may be repeated and may come late: newer state wins.
"""

from __future__ import annotations

from typing import Any, cast

from kafka import TopicPartition

from bookworks.adapters import kafka, redis
from bookworks.contracts.records import Event, Reader
from bookworks.contracts.topics import INTERACTIONS, READERS
from bookworks.countries import country_code
from bookworks.settings import Settings
from bookworks.streaming import BadValue, Loop, read_record

GROUP = "online"
FLUSH_ROWS = 2_000  # small: a click is to count at the next request
FLUSH_SECONDS = 0.05


class OnlineSink:
    """Writes events to histories, readers to profiles. Dead letters are the lake's part: they are passed over here."""

    group = GROUP
    topics = (INTERACTIONS.name, READERS.name)

    def __init__(self, settings: Settings) -> None:
        self._client = redis.connect(settings, timeout_s=10.0)

    def assigned(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Nothing to take over: state lies in Redis alone."""
        return {}

    def write(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Events, then profiles."""
        events, readers = [], []
        for tp, messages in batch.items():
            for message in messages:
                try:
                    record = read_record(tp.topic, message.value)
                except BadValue:
                    continue
                (events if tp.topic == INTERACTIONS.name else readers).append(record)
        redis.remember(self._client, cast("list[Event]", events))
        redis.save_profiles(self._client, _profiles(cast("list[Reader]", readers)))

    def not_committed(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Writing again does no harm."""


def _profiles(readers: list[Reader]) -> dict[str, dict[str, Any]]:
    """What is known of each reader; of several rows the last that tells counts. The service bins the age."""
    found: dict[str, dict[str, Any]] = {}
    for reader in readers:
        profile = {
            "country": country_code(reader.country, reader.location),
            "birth_year": _birth_year(reader),
            "tastes": reader.tastes or None,
        }
        told = {name: value for name, value in profile.items() if value is not None}
        if told:
            found.setdefault(reader.user_id, {}).update(told)
    return found


def _birth_year(reader: Reader) -> int | None:
    """From the age at the time of the record, as the marts take it."""
    return None if reader.age is None else reader.received_at.year - reader.age


def run(
    settings: Settings,
    until_end: bool = False,
    flush_rows: int = FLUSH_ROWS,
    flush_seconds: float = FLUSH_SECONDS,
) -> int:
    """Consume until stopped, or up to the end; returns the number of records consumed."""
    kafka.ensure_topics(settings)
    loop = Loop(settings, OnlineSink(settings), flush_rows=flush_rows, flush_seconds=flush_seconds)
    return loop.run(until_end)


if __name__ == "__main__":
    from bookworks.cli.consumer import main

    main(run, "Kafka to the online store.", flush_rows=FLUSH_ROWS, flush_seconds=FLUSH_SECONDS)
