"""Events a second from a file through Kafka into the lake, against Kafka alone with the same bytes."""

from __future__ import annotations

import time
from pathlib import Path

from kafka.admin import NewTopic

from analytics.bench.command import bookworks
from analytics.bench.report import Figure
from bookworks.adapters import kafka
from bookworks.settings import Settings

TOPIC = "bench"


def measure(settings: Settings, folder: Path, events: int, rounds: int) -> list[Figure]:
    """Sustained events a second of each round: from the first byte read to the last offset committed by the lake."""
    generate(settings, folder, events)
    lines = (folder / "interactions.jsonl").read_bytes().splitlines()
    records = sum(len(file.read_bytes().splitlines()) for file in folder.glob("*.jsonl"))
    ours, base = [], []
    for _ in range(rounds):
        base.append(len(lines) / kafka_alone(settings, lines))
        started = time.monotonic()
        bookworks(settings, "ingest", "load", f"--path={folder}", "--source=simulate")
        bookworks(settings, "ingest", "wait", "--group=lake", "--timeout=600")
        ours.append(records / (time.monotonic() - started))
    return [Figure("file_to_lake", "records/s", ours, base)]


def generate(settings: Settings, folder: Path, events: int) -> None:
    """The files to load, made once."""
    works, readers = max(100, events // 60), max(100, events // 50)
    bookworks(
        settings, "simulate", "generate", f"--works={works}", f"--readers={readers}", f"--events={events}", "--seed=1",
        f"--out={folder}",
    )  # fmt: skip


def kafka_alone(settings: Settings, lines: list[bytes]) -> float:
    """Seconds to send `lines` and to read them back: no check, no file, no lake."""
    admin = kafka.admin(settings)
    admin.create_topics([NewTopic(TOPIC, settings.kafka_partitions, settings.kafka_replication)])
    try:
        started = time.monotonic()
        producer = kafka.producer(settings)
        for line in lines:
            producer.send(TOPIC, line)
        producer.flush()
        producer.close()
        read = 0
        consumer = kafka.consumer(settings, TOPIC, group=None)
        while read < len(lines):
            read += sum(len(batch) for batch in consumer.poll(timeout_ms=1000, max_records=5000).values())
        consumer.close()
        return time.monotonic() - started
    finally:
        admin.delete_topics([TOPIC])
        admin.close()
        time.sleep(1)  # the broker removes the topic in the background
