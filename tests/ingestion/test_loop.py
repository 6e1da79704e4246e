"""What the loop takes as the next record, and how a sink that cannot go on ends it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from kafka import TopicPartition

from bookworks.errors import TransientError
from bookworks.streaming import SEEKS, Loop, StartAgain
from ingestion import kafka_to_lake
from ingestion.kafka_to_lake import LakeSink

TP = TopicPartition("readers", 0)


def records(first, last):
    return [SimpleNamespace(topic=TP.topic, partition=0, offset=o, value=b"{", timestamp=0)
            for o in range(first, last + 1)]  # fmt: skip


class FakeConsumer:
    def __init__(self, begin):
        self.begin, self.sought = begin, []

    def beginning_offsets(self, partitions):
        return dict.fromkeys(partitions, self.begin)

    def committed(self, tp):
        return 10

    def seek(self, tp, offset):
        self.sought.append(offset)

    def close(self):
        pass


class NoSink:
    group, topics = "nobody", (TP.topic,)

    def __init__(self, error=None):
        self.error, self.writes = error, 0

    def assigned(self, positions):
        return {}

    def write(self, batch):
        self.writes += 1
        if self.error:
            raise self.error

    def not_committed(self, batch):
        pass


@pytest.fixture
def loop():
    def make(begin=0, sink=None):
        one = Loop(SimpleNamespace(kafka_bootstrap="here"), sink or NoSink())
        one.consumer = FakeConsumer(begin)
        one._next[TP] = 10
        return one

    return make


def test_a_gap_is_read_again_while_the_broker_still_has_it(loop, caplog):
    one = loop()
    for _ in range(SEEKS):
        assert one._in_sequence(TP, records(20, 25)) == []
    assert one.consumer.sought == [10] * SEEKS
    assert not caplog.records
    assert one._in_sequence(TP, records(10, 25)) == records(10, 25)


def test_a_gap_that_stays_is_taken_and_named(loop, caplog):
    one = loop()
    for _ in range(SEEKS):
        one._in_sequence(TP, records(20, 25))
    assert one._in_sequence(TP, records(20, 25)) == records(20, 25)
    assert "offsets 10 to 19" in caplog.text


def test_what_the_broker_deleted_is_an_error_in_the_log(loop, caplog):
    one = loop(begin=20)
    assert one._in_sequence(TP, records(20, 25)) == records(20, 25)
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    assert "offsets 10 to 19 are lost" in caplog.text


def test_only_what_was_deleted_counts_as_lost(loop, caplog):
    one = loop(begin=15)
    assert one._in_sequence(TP, records(20, 25)) == []
    assert one.consumer.sought == [15]
    assert "offsets 10 to 14 are lost" in caplog.text
    assert one._in_sequence(TP, records(15, 25)) == records(15, 25)


def test_a_new_assignment_forgets_how_often_a_gap_was_read(loop):
    one = loop()
    for _ in range(SEEKS):
        one._in_sequence(TP, records(20, 25))
    one._listener.on_partitions_revoked({TP})
    one._listener.on_partitions_assigned({TP})
    one._follow_assignment({})
    assert one._in_sequence(TP, records(20, 25)) == []


def test_an_undelivered_dead_letter_ends_the_consumer_and_commits_nothing(loop, monkeypatch):
    sink = NoSink(StartAgain("a dead letter was not delivered"))
    one = loop(sink=sink)
    monkeypatch.setattr(one, "_connect", lambda: one.consumer)
    monkeypatch.setattr(one, "_poll", lambda: {TP: records(10, 12)})
    one._flush_rows = 1
    with pytest.raises(TransientError, match="must be started again"):
        one.run()
    assert (sink.writes, one.stored) == (1, 0)


class FailingSender:
    def letter(self, topic, raw, **headers):
        pass

    def flush(self):
        raise TransientError("Kafka does not answer")


def test_the_lake_does_not_try_a_batch_again_whose_dead_letters_were_not_delivered(monkeypatch):
    monkeypatch.setattr(kafka_to_lake.s3, "connect", lambda settings: None)
    with pytest.raises(StartAgain):
        LakeSink(None, FailingSender()).write({TP: records(10, 12)})
