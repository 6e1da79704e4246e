"""A lake takes records of one Kafka only."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka import TopicPartition

from bookworks.errors import TerminalError
from ingestion import kafka_to_lake
from ingestion.kafka_to_lake import LakeSink
from ingestion.lake_files import RawFile
from ingestion.lake_history import compared

NOW = {"cluster_id": "c1", "topics": {"readers": "t1"}}


def test_a_lake_that_says_nothing_takes_the_kafka_of_now():
    assert compared({}, NOW) == NOW


def test_topics_that_the_lake_does_not_know_are_added():
    kept = {"cluster_id": "c1", "topics": {"catalogue": "t0"}}
    assert compared(kept, NOW) == {"cluster_id": "c1", "topics": {"catalogue": "t0", "readers": "t1"}}


@pytest.mark.parametrize(
    ("kept", "message"),
    [({"cluster_id": "c0", "topics": {"readers": "t1"}}, "cluster c0"),
     ({"cluster_id": "c1", "topics": {"readers": "t0"}}, "topic readers with id t1")],
)  # fmt: skip
def test_another_kafka_is_refused_with_what_to_do(kept, message):
    with pytest.raises(TerminalError, match=message) as caught:
        compared(kept, NOW)
    assert "raw/_kafka.json" in str(caught.value)


def test_a_file_beyond_kafkas_end_is_seen_though_a_later_file_ends_earlier(monkeypatch):
    monkeypatch.setattr(kafka_to_lake.s3, "connect", lambda settings: None)
    files = [RawFile("readers", 0, first, last, "2025-01-01") for first, last in ((0, 500), (100, 149))]
    with pytest.raises(TerminalError, match="does not have"):
        LakeSink(SimpleNamespace(), None)._check_history(TopicPartition("readers", 0), files, 200)
