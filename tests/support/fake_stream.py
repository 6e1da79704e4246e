"""A sender that keeps what it is given, for loaders without Kafka."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from ingestion.files_to_kafka import FileReport, Loader, LoadReport
from ingestion.sources import registry


class FakeSender:
    """Has the methods of `ingestion.dead_letters.Sender`."""

    def __init__(self):
        self.records = {}
        self.letters = []

    def send(self, topic, value, key=None, headers=None, partition=None):
        self.records.setdefault(topic, []).append(json.loads(value))

    def letter(self, topic, raw, **headers):
        self.letters.append((topic, raw, headers))

    def flush(self):
        pass

    def reasons(self):
        return Counter(headers["reason"] for _, _, headers in self.letters)


class OnePartition:
    """Sends every key to partition 0."""

    def of(self, topic, key):
        return 0


def load(folder: Path, source: str = "auto", limit: int | None = None) -> tuple[FakeSender, LoadReport]:
    """Load a folder into a fake sender; every report must add up."""
    sender = FakeSender()
    report = Loader(sender, OnePartition()).load(folder, registry.choose(folder, source), limit)
    assert all(file.adds_up for file in report.files)
    assert sum(file.sent for file in report.files) == sum(map(len, sender.records.values()))
    assert sum(sum(file.rejected.values()) for file in report.files) == len(sender.letters)
    return sender, report


def file_report(report: LoadReport, kind: str) -> FileReport:
    """The report of one kind of file."""
    return next(file for file in report.files if file.kind == kind)
