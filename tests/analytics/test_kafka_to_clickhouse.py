"""Rows for ClickHouse: lines of JSON with times that DateTime64 reads, one row a book shown."""

from __future__ import annotations

import re

import orjson
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from analytics.kafka_to_clickhouse import ClickHouseSink, decision_rows, event_row
from bookworks.adapters import clickhouse
from bookworks.contracts.clickhouse import TABLES
from bookworks.contracts.records import Decision, Event
from bookworks.errors import TerminalError, TransientError

COMMON = {"schema_version": 1, "source": "service", "received_at": "2025-01-01T00:00:00.5Z"}
IDENTIFIER = "0198380a-0abe-7b1d-a334-e31ac6ccb12b"


def columns(table):
    return set(re.findall(r"(?:^|,)\s*(\w+) [A-Z]\w+", TABLES[table].split(") ENGINE")[0]))


def test_event_rows_have_the_columns_of_the_table():
    event = Event.model_validate(
        COMMON | {"event_id": IDENTIFIER, "kind": "click", "user_id": "u\n\n", "work_id": "w", "unknown": 1,
                  "occurred_at": "2025-01-01T02:00:00+02:00"}
    )  # fmt: skip
    row = event_row(event)
    assert row.keys() == columns("events")
    assert (row["occurred_at"], row["received_at"]) == ("2025-01-01 00:00:00.000", "2025-01-01 00:00:00.500")
    assert b"\n" not in orjson.dumps(row)


def test_a_decision_becomes_one_row_for_each_book():
    items = [{"work_id": f"w{i}", "position": i, "score": 0.5, "sources": {"filter": 0.5}} for i in range(3)]
    decision = Decision.model_validate(
        COMMON | {"decision_id": IDENTIFIER, "user_id": "u", "surface": "home", "bundle_version": "v", "tier": "warm",
                  "occurred_at": "2025-01-01T00:00:00Z", "latency_ms": 2.0, "n": 3, "items": items,
                  "context": {"device": "phone"}, "relaxed": ["author"]}
    )  # fmt: skip
    rows = decision_rows(decision)
    assert [row["work_id"] for row in rows] == ["w0", "w1", "w2"]
    assert all(row.keys() == columns("decisions") for row in rows)
    assert [(row["propensity"], row["relaxed"], row["context"]) for row in rows] == [
        (1.0, ["author"], {"device": "phone"})
    ] * 3


def test_an_empty_slate_is_a_row_without_a_book():
    decision = Decision.model_validate(
        COMMON | {"decision_id": IDENTIFIER, "user_id": "u", "surface": "home", "bundle_version": "v", "tier": "warm",
                  "occurred_at": "2025-01-01T00:00:00Z", "latency_ms": 2.0, "n": 0, "items": []}
    )  # fmt: skip
    (row,) = decision_rows(decision)
    assert row.keys() == columns("decisions")
    assert (str(row["decision_id"]), row["work_id"], row["position"]) == (IDENTIFIER, "", 0)


def refusal(name):
    return DatabaseError(f"Code: 1. DB::Exception: no. ({name})", name=name)


class FakeClickHouse:
    """Refuses an insert that holds a bad row."""

    def __init__(self, error, bad):
        self.error, self.bad, self.kept = error, set(bad), []

    def raw_insert(self, table, column_names, insert_block, fmt):
        rows = [orjson.loads(line)["n"] for line in insert_block.splitlines()]
        if self.bad & set(rows):
            raise self.error
        self.kept += rows


def sink_of(client):
    sink = ClickHouseSink(None)
    sink._client = client
    return sink


def rows_to(n):
    return [{"n": i} for i in range(n)]


@pytest.mark.parametrize("bad", [{7}, {0, 99}, {50, 51}])
def test_rows_that_clickhouse_cannot_take_do_not_stall_the_others(bad, caplog):
    client = FakeClickHouse(refusal("CANNOT_PARSE_INPUT_ASSERTION_FAILED"), bad)
    sink = sink_of(client)
    sink._insert("events", rows_to(100))
    assert client.kept == [i for i in range(100) if i not in bad]
    assert sink.refused == len(caplog.records) == len(bad)
    assert all(f'{{"n":{i}}}' in caplog.text for i in bad)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("MEMORY_LIMIT_EXCEEDED", TransientError), ("TOO_MANY_PARTS", TransientError), ("UNKNOWN_TABLE", TerminalError)],
)
def test_trouble_that_is_not_of_a_row_drops_no_row(name, kind):
    sink = sink_of(FakeClickHouse(refusal(name), {0}))
    with pytest.raises(kind):
        sink._insert("events", rows_to(4))
    assert sink.refused == 0


def test_a_row_that_speaks_of_tables_is_a_bad_row_all_the_same():
    error = DatabaseError("Code: 27. DB::Exception: at 'UNKNOWN_TABLE'. (CANNOT_PARSE_INPUT_ASSERTION_FAILED)")
    sink = sink_of(FakeClickHouse(error, {0}))
    sink._insert("events", rows_to(2))
    assert sink.refused == 1


@pytest.mark.integration
def test_the_real_server_keeps_the_good_rows_beside_a_bad_one(stack):
    settings = stack.need("clickhouse")
    common = COMMON | {"event_id": IDENTIFIER, "kind": "click", "work_id": "w", "occurred_at": "2025-01-01T00:00:00Z"}
    rows = [event_row(Event.model_validate(common | {"user_id": f"poison-{i}"})) for i in range(9)]
    sink = ClickHouseSink(settings)
    sink._insert("events", [*rows[:4], rows[4] | {"position": "no number"}, *rows[5:]])
    assert sink.refused == 1
    stored = clickhouse.connect(settings).query(
        "select user_id from events final where user_id like 'poison-%' order by user_id"
    )
    assert [row[0] for row in stored.result_rows] == [f"poison-{i}" for i in range(9) if i != 4]
