"""The Kafka client against a real broker."""

from __future__ import annotations

import time
import uuid

import pytest
from kafka.admin import NewTopic

from bookworks.adapters import kafka
from bookworks.errors import TransientError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(stack):
    return stack.need("kafka")


def make_topic(settings, name):
    admin = kafka.admin(settings)
    try:
        admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    finally:
        admin.close()


def poll_until(consumer, partitions, seconds):
    """Poll so shortly that a join is never answered within the poll that began it."""
    deadline = time.monotonic() + seconds
    while len(consumer.assignment()) != partitions and time.monotonic() < deadline:
        consumer.poll(1)
        time.sleep(0.01)
    return len(consumer.assignment())


def test_a_topic_that_appears_later_is_assigned_also_when_polls_are_short(settings):
    first, later = (f"t-{uuid.uuid4().hex}" for _ in range(2))
    make_topic(settings, first)
    consumer = kafka.consumer(settings, group=f"g-{uuid.uuid4().hex}", metadata_max_age_ms=200)
    try:
        consumer.subscribe([first, later])
        assert poll_until(consumer, 2, 30) == 2
        make_topic(settings, later)
        assert poll_until(consumer, 4, 30) == 4
    finally:
        consumer.close()


def test_a_topic_that_is_not_there_is_named(settings):
    consumer = kafka.consumer(settings, group=None)
    try:
        with pytest.raises(TransientError, match="no partition of the topic nowhere"):
            kafka.end_offsets(consumer, ["nowhere"])
    finally:
        consumer.close()
