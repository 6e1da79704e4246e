"""Names of raw files, what they cover, and tables of exactly the contract's schema."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookworks.contracts.lake import RAW_SCHEMAS
from bookworks.streaming import BadValue, read_record
from ingestion.lake_files import RawFile, by_day, covered_up_to, raw_files, superfluous, to_table

COMMON = b'"schema_version":1,"source":"simulate","received_at":"2025-01-01T00:00:00Z"'
VALUES = {
    "interactions": b'{%s,"event_id":"0198380a-0abe-7b1d-a334-e31ac6ccb12b","kind":"view","user_id":"u",'
    b'"edition_id":"e","occurred_at":"2025-01-01T02:00:00+02:00","mood":"good"}' % COMMON,
    "catalogue": b'{%s,"edition_id":"e","title":"T","subjects":["a"]}' % COMMON,
    "readers": b'{%s,"user_id":"u","age":36}' % COMMON,
    "decisions": b'{%s,"decision_id":"0198380a-0abe-7b1d-a334-e31ac6ccb12b","user_id":"u","surface":"home",'
    b'"bundle_version":"v","tier":"warm","occurred_at":"2025-01-01T00:00:00Z","latency_ms":1.5,"n":1,'
    b'"items":[{"work_id":"w","position":0,"score":0.5,"sources":{"filter":0.5}}]}' % COMMON,
}


def file(first, last, partition=0):
    return RawFile("readers", partition, first, last, "2025-01-01")


def message(offset, millis=0):
    return SimpleNamespace(offset=offset, timestamp=millis, partition=3)


def test_names_lead_back_to_what_they_name():
    one = file(7, 19, partition=2)
    assert RawFile.of(one.key) == one
    assert RawFile.of("raw/readers/dt=2025-01-01/_SUCCESS") is None
    keys = [file(5, 9).key, file(0, 4).key, file(0, 4, partition=1).key, "raw/readers/other"]
    assert raw_files(keys, "readers", 0) == [file(0, 4), file(5, 9)]


@pytest.mark.parametrize(
    ("files", "position", "reached"),
    [([], 5, 5), ([file(5, 9)], 5, 10), ([file(5, 9), file(10, 12)], 5, 13), ([file(6, 9)], 5, 5),
     ([file(3, 6), file(5, 9)], 5, 10)],
)  # fmt: skip
def test_files_beyond_the_committed_offset_are_followed_without_gap(files, position, reached):
    assert covered_up_to(files, position) == reached


def offsets(files):
    return {offset for one in files for offset in range(one.first, one.last + 1)}


def test_a_file_is_superfluous_only_when_others_hold_all_of_it():
    assert superfluous([file(5, 9), file(4, 6), file(7, 9)]) == [file(7, 9)]
    assert superfluous([file(4, 6), file(5, 9), file(7, 12)]) == [file(5, 9)]
    assert superfluous([file(5, 9), file(4, 6), file(8, 9)]) == [file(8, 9)]
    assert superfluous([file(5, 9)]) == []


def test_files_that_cover_one_another_are_not_all_removed():
    files = [file(0, 99), file(100, 199), file(100, 149), file(150, 199), file(200, 300)]
    assert superfluous(files) == [file(100, 149), file(150, 199)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=14))
def test_without_the_superfluous_files_every_offset_is_still_there(spans):
    files = sorted({file(first, first + length) for first, length in spans})
    kept = [one for one in files if one not in superfluous(files)]
    assert offsets(kept) == offsets(files)
    assert all(offsets(kept) - offsets([other for other in kept if other != one]) for one in kept)


def test_a_batch_over_midnight_becomes_one_file_a_day():
    day = 86_400_000
    runs = list(by_day([message(1, day - 1), message(2, day), message(3, day + 5)]))
    assert [(dt, [m.offset for m in run]) for dt, run in runs] == [("1970-01-01", [1]), ("1970-01-02", [2, 3])]


@pytest.mark.parametrize("topic", list(RAW_SCHEMAS))
def test_tables_have_the_schema_of_the_contract(topic):
    table = to_table(topic, [(message(8, 1_735_689_600_000), read_record(topic, VALUES[topic]))])
    assert table.schema.equals(RAW_SCHEMAS[topic])
    row = table.to_pylist()[0]
    assert (row["kafka_partition"], row["kafka_offset"]) == (3, 8)
    if topic == "interactions":
        assert row["extra"] == '{"mood":"good"}'
        assert row["occurred_at"] == row["received_at"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "empty"), (b"", "empty"), (b"{", "not_json"), (b"\xff", "not_json"), (b"[]", "not_an_object"),
     (b"{%s}" % COMMON, "missing_user_id"), (b'{%s,"user_id":"u","age":-1}' % COMMON, "bad_age"),
     (b'{%s,"user_id":"a\\u0000b"}' % COMMON, "nul_character"),
     (b'{%s,"user_id":"u","age":99999999999999999999999}' % COMMON, "bad_age"),
     (b'{"schema_version":1,"source":"s","received_at":"9999-12-31T23:59:59-12:00","user_id":"u"}',
      "bad_received_at")],
)  # fmt: skip
def test_what_breaks_the_contract_is_named(value, reason):
    with pytest.raises(BadValue) as caught:
        read_record("readers", value)
    assert caught.value.reason == reason


def test_an_event_without_time_is_refused_unless_its_source_has_none():
    timeless = VALUES["interactions"].replace(b'"occurred_at":"2025-01-01T02:00:00+02:00",', b"")
    with pytest.raises(BadValue, match="occurred_at is needed"):
        read_record("interactions", timeless)
    assert read_record("interactions", timeless.replace(b'"simulate"', b'"book-crossing"')).occurred_at is None
