"""Kafka to ClickHouse: events, and decisions one row a book shown.

    python -m analytics.kafka_to_clickhouse [--until-end]

Tables replace rows of the same key, so a repeated insert leaves what was there. A row that ClickHouse refuses for
what it holds is named in the log, counted and passed over: the lake has it.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, cast

import orjson
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, error_name_from_body
from kafka import TopicPartition

from bookworks.adapters import clickhouse, kafka
from bookworks.contracts.records import Decision, DecisionItem, Event
from bookworks.contracts.topics import DECISIONS, INTERACTIONS
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings
from bookworks.streaming import BadValue, Loop, read_record

log = logging.getLogger(__name__)
GROUP = "clickhouse"
_EVENT_COLUMNS = ("event_id", "kind", "user_id", "edition_id", "work_id", "value", "occurred_at", "received_at",
                  "session_id", "surface", "decision_id", "position", "source")  # fmt: skip
_NO_BOOK = DecisionItem.model_construct(work_id="", position=0, score=0.0)
_DECISION_COLUMNS = ("decision_id", "user_id", "surface", "bundle_version", "tier", "fallbacks", "occurred_at",
                     "latency_ms", "source", "relaxed", "context")  # fmt: skip
_ITEM_COLUMNS = {"work_id", "position", "score", "sources", "propensity"}
_SEE_LOG = "check the server's log with `bookworks logs clickhouse`."


class ClickHouseSink:
    """Inserts batches. Dead letters are the lake's part: here they are passed over.

    Attributes:
        refused: rows that ClickHouse refused since the start.
    """

    group = GROUP
    topics: tuple[str, ...] = (INTERACTIONS.name, DECISIONS.name)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self.refused = 0

    def assigned(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Nothing to take over: repeated rows replace themselves."""
        return {}

    def write(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """One insert a table."""
        events: list[Event] = []
        decisions: list[Decision] = []
        for tp, messages in batch.items():
            for message in messages:
                try:
                    record = read_record(tp.topic, message.value)
                except BadValue:
                    continue
                (events if tp.topic == INTERACTIONS.name else decisions).append(cast("Any", record))
        self._insert("events", [event_row(event) for event in events])
        self._insert("decisions", [row for decision in decisions for row in decision_rows(decision)])

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Insert rows; where ClickHouse refuses some for what they hold, all the others."""
        if not rows:
            return
        try:
            self._send(table, rows)
        except _RowRefused as refusal:
            if len(rows) == 1:
                self.refused += 1
                shown = orjson.dumps(rows[0])[:1000].decode("utf-8", "replace")
                log.error("ClickHouse refused a row of %s, %d so far; it is in the lake: %s; %s",
                          table, self.refused, shown, refusal)  # fmt: skip
                return
            half = len(rows) // 2
            self._insert(table, rows[:half])
            self._insert(table, rows[half:])

    def _send(self, table: str, rows: list[dict[str, Any]]) -> None:
        """One insert as lines of JSON: text has no blank line, at which some engines end inline data.

        Raises:
            _RowRefused: ClickHouse cannot take at least one of the rows.
            TransientError, TerminalError: the trouble is not in the rows.
        """
        body = b"\n".join(map(orjson.dumps, rows)) + b"\n"
        try:
            if self._client is None:
                clickhouse.ensure_tables(self._settings)
                self._client = clickhouse.connect(self._settings)
            self._client.raw_insert(table, column_names=list(rows[0]), insert_block=body, fmt="JSONEachRow")
        except DatabaseError as error:
            refusal = _of(error)
            if not isinstance(refusal, _RowRefused):
                self._client = None
            raise refusal from error
        except (ClickHouseError, OSError) as error:
            self._client = None
            raise TransientError("ClickHouse does not answer", received=error, todo=_SEE_LOG) from error

    def not_committed(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Inserting again does no harm."""


class _RowRefused(Exception):
    """ClickHouse cannot take a row for what it holds."""


_REFUSALS = ("UNKNOWN_TABLE", "NO_SUCH_COLUMN_IN_TABLE", "TYPE_MISMATCH", "UNKNOWN_IDENTIFIER",
             "AUTHENTICATION_FAILED")  # fmt: skip
# Names of errors that say "this value cannot be read or kept", beside all that begin with CANNOT_PARSE_.
# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
_OF_THE_ROW = frozenset({
    "ARGUMENT_OUT_OF_BOUND", "CANNOT_CONVERT_TYPE", "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", "CANNOT_READ_ALL_DATA",
    "CANNOT_READ_ARRAY_FROM_TEXT", "CANNOT_READ_MAP_FROM_TEXT", "DECIMAL_OVERFLOW", "INCORRECT_DATA",
    "TOO_LARGE_ARRAY_SIZE", "TOO_LARGE_STRING_SIZE", "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
})  # fmt: skip


def _of(error: DatabaseError) -> TransientError | TerminalError | _RowRefused:
    """What a refusal means: a wrong table stays wrong, a bad value is of its row, everything else passes.

    Everything else: no memory, no room, too many parts or queries, a restart, a timeout.
    """
    text, name = str(error)[:300], error.name or error_name_from_body(str(error)) or ""
    if name in _REFUSALS:
        return TerminalError("ClickHouse refused an insert", received=text, todo=_SEE_LOG)
    if name.startswith("CANNOT_PARSE_") or name in _OF_THE_ROW:
        return _RowRefused(text)
    return TransientError("ClickHouse refused an insert", received=text, todo=_SEE_LOG)


def event_row(event: Event) -> dict[str, Any]:
    """One row of the table events."""
    fields = event.__dict__
    row = {name: fields[name] for name in _EVENT_COLUMNS}
    row["occurred_at"] = None if event.occurred_at is None else _time(event.occurred_at)
    row["received_at"] = _time(event.received_at)
    return row


def decision_rows(decision: Decision) -> list[dict[str, Any]]:
    """Rows of the table decisions: one for each book shown; of an empty slate one without a book."""
    fields = decision.__dict__
    common = {name: fields[name] for name in _DECISION_COLUMNS} | {"occurred_at": _time(decision.occurred_at)}
    items = decision.items or [_NO_BOOK]
    return [common | item.model_dump(include=_ITEM_COLUMNS) for item in items]


def _time(at: datetime) -> str:
    """As DateTime64(3) reads it; the contract's times are UTC."""
    return at.isoformat(" ", "milliseconds")[:23]


def run(settings: Settings, until_end: bool = False, **options: Any) -> int:
    """Consume until stopped, or up to the end; returns the number of records consumed."""
    kafka.ensure_topics(settings)
    return Loop(settings, ClickHouseSink(settings), **options).run(until_end)


if __name__ == "__main__":
    from bookworks.cli.consumer import main

    main(run, "Kafka to ClickHouse.")
