"""Waiting until the consumer groups have stored what Kafka holds."""

from __future__ import annotations

import time

from kafka import KafkaConsumer

from bookworks.adapters import kafka
from bookworks.contracts.topics import CATALOGUE, DECISIONS, INTERACTIONS, READERS
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

# Groups and what they read; the consumers name themselves so, a test compares.
TOPICS_OF_GROUP = {
    "lake": (INTERACTIONS.name, CATALOGUE.name, READERS.name, DECISIONS.name),
    "online": (INTERACTIONS.name, READERS.name),
    "clickhouse": (INTERACTIONS.name, DECISIONS.name),
}
_PAUSE_S = 0.3


def wait(settings: Settings, timeout_s: float, groups: list[str] | None = None) -> None:
    """Return when every group has committed the end offsets of now.

    Raises:
        TerminalError: there is no such group.
        TransientError: not within the time; the message says who is behind and by how much.
    """
    chosen = _chosen(groups or list(TOPICS_OF_GROUP))
    deadline = time.monotonic() + timeout_s
    readers = {name: kafka.consumer(settings, group=name) for name in chosen}
    try:
        with kafka.translated(settings):
            any_reader = next(iter(readers.values()))
            ends = kafka.end_offsets(any_reader, {topic for topics in chosen.values() for topic in topics})
            begins = any_reader.beginning_offsets(list(ends))
        while True:
            with kafka.translated(settings):
                behind = {name: _behind(reader, chosen[name], begins, ends) for name, reader in readers.items()}
            if not any(behind.values()):
                return
            if time.monotonic() > deadline:
                raise TransientError(
                    f"Consumers have not caught up after {timeout_s:g} s",
                    received=", ".join(f"{name}: {n:,} behind" for name, n in behind.items() if n),
                    todo="check `bookworks status` and `bookworks logs` of the consumers; wait again.",
                )
            time.sleep(_PAUSE_S)
    finally:
        for reader in readers.values():
            reader.close()


def _chosen(groups: list[str]) -> dict[str, tuple[str, ...]]:
    """Groups with their topics.

    Raises:
        TerminalError: there is no such group.
    """
    if unknown := [name for name in groups if name not in TOPICS_OF_GROUP]:
        raise TerminalError(
            "There is no such consumer group",
            received=", ".join(unknown),
            allowed=", ".join(TOPICS_OF_GROUP),
            todo="give one of these, or none for all.",
        )
    return {name: TOPICS_OF_GROUP[name] for name in groups}


def _behind(reader: KafkaConsumer, topics: tuple[str, ...], begins: dict, ends: dict) -> int:  # type: ignore[type-arg]
    """Offsets that a group has yet to commit."""
    own = [tp for tp in ends if tp.topic in topics]
    committed = {tp: reader.committed(tp) for tp in own}
    return sum(max(0, ends[tp] - max(committed[tp] or 0, begins[tp])) for tp in own)
