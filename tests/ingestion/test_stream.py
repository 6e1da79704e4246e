"""Kafka, lake, Redis and ClickHouse for real: killed consumers, reconciliation, dead letters."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from kafka.structs import OffsetAndMetadata

from analytics.bench import stream
from bookworks.adapters import clickhouse, kafka, redis, s3
from bookworks.contracts.lake import RAW_SCHEMAS, raw_prefix
from bookworks.contracts.topics import TOPICS
from bookworks.errors import TransientError
from ingestion import dead_letters, lake_history, progress, reconcile, replay
from ingestion.dead_letters import Sender
from ingestion.files_to_kafka import load
from simulation.generate import Options, generate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]
EVENTS = 12_000
BAD_VALUES = (b"", b"\xff\xfe", b"{}", b'{"schema_version":1,"source":"x","received_at":"2025-01-01T00:00:00Z"}')
CONSUMERS = {
    "lake": ("ingestion.kafka_to_lake", "700", "0.2"),
    "online": ("ingestion.kafka_to_online", "300", "0.1"),
    "clickhouse": ("analytics.kafka_to_clickhouse", "900", "0.2"),
}


@pytest.fixture(scope="module")
def servers(stack):
    settings = stack.need("kafka", "minio", "redis", "clickhouse")
    kafka.ensure_topics(settings)
    s3.ensure_buckets(settings)
    return settings


@pytest.fixture(scope="module")
def loaded(servers, tmp_path_factory):
    """A dirty world in Kafka, and consumers that were killed again and again while they stored it."""
    world = tmp_path_factory.mktemp("world")
    generate(Options(works=300, readers=200, events=EVENTS, seed=5, dirt=0.01), world)
    report = load(servers, world, "simulate")
    with Sender(servers) as sender:  # someone else writes to Kafka, and not well
        for value in BAD_VALUES:
            sender.send("interactions", value, key=b"x")
        sender.flush()
    with ThreadPoolExecutor(len(CONSUMERS)) as pool:
        list(pool.map(lambda name: kill_again_and_again(servers, name), CONSUMERS))
    ends = sum(kafka_ends(servers).values())
    assert committed(servers, "lake") < ends, "the last kill came too late to be in the middle"
    for name in CONSUMERS:
        assert start(name, "--until-end").wait(timeout=120) == 0
    return report


def start(name, *options, seconds=None):
    module, rows, default_seconds = CONSUMERS[name]
    command = [sys.executable, "-m", module, "--flush-rows", rows, "--flush-seconds", seconds or default_seconds]
    return subprocess.Popen([*command, *options], env=os.environ | {"BOOKWORKS_LOG_LEVEL": "WARNING"})


def kill_again_and_again(settings, name, times=3):
    """Kill -9 each time the consumer has just committed something, so that it is in the middle of the next batch."""
    rng = random.Random(name)
    reader = kafka.consumer(settings, group=name)
    try:
        for _ in range(times):
            before = committed_by(reader, name)
            process = start(name)
            deadline = time.monotonic() + 120
            while committed_by(reader, name) == before and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            time.sleep(0.2 * rng.random())
            assert process.poll() is None, "it ended by itself"
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert committed_by(reader, name) > before, "it was killed before it did anything"
    finally:
        reader.close()


def committed(settings, name):
    reader = kafka.consumer(settings, group=name)
    try:
        return committed_by(reader, name)
    finally:
        reader.close()


def committed_by(reader, name):
    return sum(reader.committed(tp) or 0 for tp in kafka.end_offsets(reader, progress.TOPICS_OF_GROUP[name]))


def lake_rows(settings, topic):
    store = s3.filesystem(settings)
    keys = list(s3.list_keys(settings, settings.lake_bucket, raw_prefix(topic)))
    return [row for key in keys for row in pq.read_table(f"{settings.lake_bucket}/{key}", filesystem=store).to_pylist()]


def test_killed_lake_consumer_loses_and_doubles_nothing(servers, loaded):
    sent = {file.topic: file.sent for file in loaded.files}
    for topic in ("interactions", "catalogue", "readers"):
        rows = lake_rows(servers, topic)
        places = [(row["kafka_partition"], row["kafka_offset"]) for row in rows]
        assert len(places) == len(set(places)) == sent[topic]
    events = lake_rows(servers, "interactions")
    assert len({row["event_id"] for row in events}) == EVENTS


def kafka_ends(settings):
    reader = kafka.consumer(settings, group=None)
    try:
        return kafka.end_offsets(reader, TOPICS)
    finally:
        reader.close()


def test_file_written_but_not_committed_is_adopted(servers, loaded):
    """The crash between write and commit: Kafka is told an older offset than the lake holds."""
    before = sorted((row["kafka_partition"], row["kafka_offset"]) for row in lake_rows(servers, "interactions"))
    reader = kafka.consumer(servers, group="lake")
    last = {tp: end for tp, end in kafka_ends(servers).items() if tp.topic == "interactions"}
    reader.commit({tp: OffsetAndMetadata(end // 2, "", -1) for tp, end in last.items()})
    reader.close()
    assert start("lake", "--until-end").wait(timeout=60) == 0
    assert sorted((row["kafka_partition"], row["kafka_offset"]) for row in lake_rows(servers, "interactions")) == before
    assert committed(servers, "lake") == sum(kafka_ends(servers).values())


def test_lake_files_have_exactly_the_schema_of_the_contract(servers, loaded):
    store = s3.filesystem(servers)
    for topic in ("interactions", "catalogue", "readers"):
        key = next(iter(s3.list_keys(servers, servers.lake_bucket, raw_prefix(topic))))
        assert key.startswith(f"raw/{topic}/dt={datetime.now(UTC):%Y-%m}")
        schema = pq.read_schema(f"{servers.lake_bucket}/{key}", filesystem=store)
        assert schema.remove_metadata().equals(RAW_SCHEMAS[topic])


def test_killed_clickhouse_consumer_loses_and_doubles_nothing(servers, loaded):
    client = clickhouse.connect(servers)
    stored = client.query("select count(), uniqExact(event_id) from events final where source = 'simulate'").result_rows
    assert stored == [(EVENTS, EVENTS)]


def test_killed_online_consumer_leaves_the_state_of_one_clean_pass(servers, loaded):
    events = lake_rows(servers, "interactions")
    user_id = max({row["user_id"] for row in events}, key=lambda u: sum(row["user_id"] == u for row in events))
    own = [row for row in events if row["user_id"] == user_id]
    reader = redis.read_reader(redis.connect(servers), user_id)
    consumed = {row["edition_id"] for row in own if row["kind"] in ("rating", "shelve", "loan", "purchase")}
    assert reader.seen == consumed
    assert reader.dismissed == {row["edition_id"] for row in own if row["kind"] == "dismiss"}
    assert set(reader.history) <= {row["edition_id"] for row in own}
    assert reader.profile["country"]


def test_reconcile_adds_up_after_the_kills_and_the_dead_letters_count_once(servers, loaded):
    rows = reconcile.reconcile(servers, TOPICS)
    assert all(row.adds_up() for row in rows)
    assert all(r.produced == r.stored + r.duplicate + r.dead_lettered + r.missing for r in rows)
    total = {topic: [r for r in rows if r.topic == topic] for topic in TOPICS}
    assert sum(r.stored for r in total["interactions"]) == EVENTS
    assert sum(r.dead_lettered for r in total["interactions"]) == 4


def test_repeated_import_is_known_as_duplicates(servers, loaded, tmp_path):
    generate(Options(works=300, readers=200, events=EVENTS, seed=5), tmp_path)
    again = load(servers, tmp_path, "simulate")
    assert start("lake", "--until-end", seconds="5").wait(timeout=120) == 0
    rows = reconcile.reconcile(servers, ["interactions"])
    assert all(row.adds_up() for row in rows)
    assert sum(row.duplicate for row in rows) == next(f.sent for f in again.files if f.topic == "interactions")


def test_file_rows_are_dead_letters_with_file_line_and_bytes(servers, loaded):
    letters = [one for one in dead_letters.read(servers, "readers") if one.headers["source_file"]]
    rejected = next(file.rejected for file in loaded.files if file.topic == "readers")
    assert len(letters) == sum(rejected.values()) > 0
    assert all(int(one.headers["source_line"]) > 0 and one.raw and one.source_offset is None for one in letters)


def test_reports_are_kept_in_the_lake(servers, loaded):
    keys = list(s3.list_keys(servers, servers.lake_bucket, "reports/ingest/"))
    body = s3.connect(servers).get_object(Bucket=servers.lake_bucket, Key=keys[0])["Body"].read()
    for file in json.loads(body)["files"]:
        assert file["rows_in"] == file["sent"] + file["duplicates"] + sum(file["rejected"].values())


def test_replay_sends_each_letter_once_and_only_what_is_mended(servers, loaded):
    event = {
        "schema_version": 1, "source": "service", "received_at": "2025-01-01T00:00:00Z", "kind": "click",
        "event_id": str(uuid.uuid4()), "user_id": "replayed", "edition_id": "e", "occurred_at": "2025-01-01T00:00:00Z",
    }  # fmt: skip
    with Sender(servers) as sender:
        good = json.dumps(event).encode()
        sender.letter("interactions", good, reason="mended", detail="by a later release", source_topic="interactions",
                      source_partition=0, source_offset=10**6)  # fmt: skip
        sender.flush()
    first = replay.replay(servers, ["interactions"], reason="mended")
    second = replay.replay(servers, ["interactions"], reason="mended")
    assert (first.sent, second.sent) == (1, 0)
    others = replay.replay(servers, ["interactions"])
    assert others.sent == 0
    assert others.still_refused > 4
    counts = {count.reason: count for count in replay.summary(servers, ["interactions"])}
    assert (counts["mended"].letters, counts["mended"].replayed) == (1, 1)
    assert start("lake", "--until-end").wait(timeout=60) == 0
    assert [row["user_id"] for row in lake_rows(servers, "interactions")].count("replayed") == 1
    assert all(row.adds_up() for row in reconcile.reconcile(servers, ["interactions"]))


def test_wait_names_who_is_behind_and_returns_when_none_is(servers, loaded):
    with Sender(servers) as sender:
        sender.send("readers", b"{}", key=b"behind")
        sender.flush()
    with pytest.raises(TransientError, match=r"lake: 1 behind"):
        progress.wait(servers, 0.0, ["lake"])
    assert start("lake", "--until-end").wait(timeout=60) == 0
    progress.wait(servers, 5.0, ["lake"])


def test_command_exits_1_and_shows_missing_when_a_lake_file_is_gone(servers, loaded):
    command = [sys.executable, "-m", "bookworks.cli.main", "ingest", "reconcile", "--json"]
    before = subprocess.run(command, check=False, capture_output=True)
    assert before.returncode == 0, before.stdout
    keys = list(s3.list_keys(servers, servers.lake_bucket, raw_prefix("interactions")))
    client = s3.connect(servers)
    body = client.get_object(Bucket=servers.lake_bucket, Key=keys[0])["Body"].read()
    client.delete_object(Bucket=servers.lake_bucket, Key=keys[0])
    try:
        after = subprocess.run(command, check=False, capture_output=True)
        assert after.returncode == 1
        assert sum(row["missing"] for row in json.loads(after.stdout)["partitions"]) > 0
    finally:
        s3.put(servers, servers.lake_bucket, keys[0], body)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_lake_of_another_kafka_is_refused_in_words(servers, loaded):
    kept = s3.connect(servers).get_object(Bucket=servers.lake_bucket, Key=lake_history.KEY)["Body"].read()
    assert json.loads(kept) == lake_history.identity(servers, sorted(TOPICS))
    assert set(json.loads(kept)["topics"]) == set(TOPICS)
    before = list(s3.list_keys(servers, servers.lake_bucket, "raw/"))
    other = json.dumps(json.loads(kept) | {"cluster_id": "another"}).encode()
    s3.put(servers, servers.lake_bucket, lake_history.KEY, other)
    with Sender(servers) as sender:
        sender.send("readers", b"{}", key=b"of another Kafka")
        sender.flush()
    try:
        command = [sys.executable, "-m", "ingestion.kafka_to_lake", "--until-end"]
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1
        assert "of another Kafka" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert list(s3.list_keys(servers, servers.lake_bucket, "raw/")) == before
    finally:
        s3.put(servers, servers.lake_bucket, lake_history.KEY, kept)
    assert start("lake", "--until-end").wait(timeout=60) == 0


def test_the_benchmark_measures_from_file_to_lake(servers, loaded, tmp_path):
    consumer = start("lake")
    try:
        (figure,) = stream.measure(servers, tmp_path, events=300, rounds=1)
    finally:
        consumer.terminate()
        assert consumer.wait(timeout=60) == 0
    assert (figure.name, figure.unit, len(figure.rounds)) == ("file_to_lake", "records/s", 1)
    assert min(figure.rounds + figure.baseline) > 0
    assert len((tmp_path / "interactions.jsonl").read_bytes().splitlines()) == 300
    assert all(row.adds_up() for row in reconcile.reconcile(servers, TOPICS))


def test_groups_waited_for_are_those_the_consumers_name():
    from analytics.kafka_to_clickhouse import ClickHouseSink
    from ingestion.kafka_to_lake import LakeSink
    from ingestion.kafka_to_online import OnlineSink

    named = {sink.group: set(sink.topics) for sink in (LakeSink, OnlineSink, ClickHouseSink)}
    assert named == {name: set(topics) for name, topics in progress.TOPICS_OF_GROUP.items()}
