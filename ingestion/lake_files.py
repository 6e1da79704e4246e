"""The raw files of the lake: their names, what they cover, and Parquet from Kafka records."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bookworks.contracts.lake import RAW_SCHEMAS, raw_key
from bookworks.contracts.records import Record

_NAME = re.compile(r"raw/[^/]+/dt=(\d{4}-\d{2}-\d{2})/(.+)\+(\d+)\+(\d{20})\+(\d{20})\.parquet")
_PROVENANCE = ("kafka_partition", "kafka_offset", "kafka_at", "extra")
_TEXT_OF_ID = frozenset({"event_id", "decision_id"})
DAY_MS = 86_400_000


@dataclass(frozen=True, order=True)
class RawFile:
    """One raw file: offsets `first` to `last` of one partition, both included."""

    topic: str
    partition: int
    first: int
    last: int
    dt: str

    @property
    def key(self) -> str:
        """Its key in the lake."""
        return raw_key(self.topic, self.partition, self.first, self.last, self.dt)

    @classmethod
    def of(cls, key: str) -> RawFile | None:
        """The file of a key, or None when the key is not one of ours."""
        match = _NAME.fullmatch(key)
        if match is None:
            return None
        return cls(match[2], int(match[3]), int(match[4]), int(match[5]), match[1])


def raw_files(keys: Iterable[str], topic: str, partition: int) -> list[RawFile]:
    """The files of one partition in order of offsets."""
    found = (RawFile.of(key) for key in keys)
    return sorted(file for file in found if file and (file.topic, file.partition) == (topic, partition))


def covered_up_to(files: Sequence[RawFile], position: int) -> int:
    """The first offset from `position` on that no file covers."""
    for file in files:
        if file.first <= position <= file.last:
            position = file.last + 1
    return position


def superfluous(files: Iterable[RawFile]) -> list[RawFile]:
    """Files of one partition without which the others still hold every offset.

    What is not returned covers exactly what all covered: a file is dropped for those that stay, never for
    another that is dropped.
    """
    kept: list[RawFile] = []
    dropped: list[RawFile] = []
    for file in sorted(files, key=lambda one: (one.first, -one.last)):
        if kept and file.last <= kept[-1].last:
            dropped.append(file)
            continue
        while len(kept) > 1 and kept[-2].last + 1 >= file.first:
            dropped.append(kept.pop())
        kept.append(file)
    return dropped


def by_day(records: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Runs of consumer records of one broker date (UTC), in order of offset."""
    run: list[Any] = []
    day = None
    for record in records:
        if record.timestamp // DAY_MS != day:
            if run:
                yield _date(run[0].timestamp), run
            run, day = [], record.timestamp // DAY_MS
        run.append(record)
    if run:
        yield _date(run[0].timestamp), run


def _date(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d")


def to_table(topic: str, rows: Sequence[tuple[Any, Record]]) -> pa.Table:
    """Consumer records with what they hold, as a table of exactly the raw schema of the topic."""
    schema = RAW_SCHEMAS[topic]
    own = [name for name in schema.names if name not in _PROVENANCE]
    values = [record.__dict__ for _, record in rows]
    columns: dict[str, list[Any]] = {name: [row[name] for row in values] for name in own}
    for name in _TEXT_OF_ID & columns.keys():
        columns[name] = [None if value is None else str(value) for value in columns[name]]
    if "items" in columns:
        columns["items"] = [orjson.dumps([item.model_dump() for item in items]).decode() for items in columns["items"]]
    if "context" in columns:
        columns["context"] = [orjson.dumps(context).decode() for context in columns["context"]]
    columns["kafka_partition"] = [message.partition for message, _ in rows]
    columns["kafka_offset"] = [message.offset for message, _ in rows]
    columns["kafka_at"] = [message.timestamp * 1000 for message, _ in rows]
    columns["extra"] = [_extra(record) for _, record in rows]
    return pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def _extra(record: Record) -> str | None:
    """Unknown fields as JSON, or None when there are none."""
    return orjson.dumps(record.model_extra, default=str).decode() if record.model_extra else None


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1)
    return sink.getvalue()
