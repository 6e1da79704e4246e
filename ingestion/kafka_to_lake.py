"""Kafka to the lake: validated records as Parquet by broker date; what breaks the contract to the dead letters.

    python -m ingestion.kafka_to_lake [--until-end]

A file is put whole, under a name made of topic, partition and offsets; Kafka is told after that. A file that
was written but not committed is adopted at the next start, so nothing is lost or doubled.
"""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kafka import TopicPartition

from bookworks.adapters import kafka, s3
from bookworks.contracts.lake import raw_prefix
from bookworks.contracts.topics import TOPICS
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings
from bookworks.streaming import BadValue, Loop, StartAgain, read_record
from ingestion.dead_letters import Sender
from ingestion.lake_files import RawFile, by_day, covered_up_to, raw_files, superfluous, to_parquet, to_table
from ingestion.lake_history import check_same_kafka

log = logging.getLogger(__name__)
GROUP = "lake"


class LakeSink:
    """Writes batches to the lake. One object for each partition, day and batch."""

    group = GROUP
    topics = tuple(TOPICS)

    def __init__(self, settings: Settings, sender: Sender) -> None:
        self._settings = settings
        self._sender = sender
        self._client = s3.connect(settings)
        self._refused: dict[TopicPartition, int] = {}  # highest offset already sent to the dead letters

    def assigned(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Adopt files written but not committed; remove what can never be reached.

        Raises:
            TerminalError: the lake holds offsets that Kafka never gave: one of the two was wiped.
        """
        moved = {}
        check_same_kafka(self._settings, {tp.topic for tp in positions})
        ends = self._ends(list(positions))
        files = {topic: list(s3.list_keys(self._settings, self._settings.lake_bucket, raw_prefix(topic)))
                 for topic in {tp.topic for tp in positions}}  # fmt: skip
        for tp, position in positions.items():
            own = raw_files(files[tp.topic], tp.topic, tp.partition)
            self._check_history(tp, own, ends[tp])
            reached = covered_up_to(own, position)
            if reached > position:
                log.warning("%s: adopted offsets %d to %d, written but not committed", tp, position, reached - 1)
                moved[tp] = reached
            self._remove([file for file in own if file.first >= reached])
            self._remove(superfluous(file for file in own if file.first < reached))
            self._refused.pop(tp, None)
        return moved

    def _ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        reader = kafka.consumer(self._settings, group=None)
        try:
            with kafka.translated(self._settings):
                ends: dict[TopicPartition, int] = reader.end_offsets(partitions)
        finally:
            reader.close()
        return ends

    def _check_history(self, tp: TopicPartition, files: list[RawFile], end: int) -> None:
        newest = max(files, key=lambda file: file.last, default=None)
        if newest is not None and newest.last >= end:
            raise TerminalError(
                f"The lake holds offsets of {tp.topic} partition {tp.partition} that Kafka does not have",
                received=f"{newest.key}, while the topic ends at offset {end}",
                allowed="a lake and a Kafka of the same history",
                todo="Kafka was wiped and the lake was not: move the old raw files away, or wipe both.",
            )

    def _remove(self, files: list[RawFile]) -> None:
        for file in files:
            log.warning("removed %s: its offsets are read again or are in other files", file.key)
            self._s3("delete_object", Key=file.key)

    def write(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Dead letters first, then the files: a file's presence says that its dead letters are kept.

        Raises:
            StartAgain: a dead letter was not delivered; which of them is unknown, so all are sent again.
            TransientError: the lake does not answer.
        """
        try:
            good = {tp: self._validated(tp, records) for tp, records in batch.items()}
            self._sender.flush()
        except TransientError as error:
            raise StartAgain(f"a dead letter was not delivered: {error}") from error
        for tp, records in batch.items():
            self._write_partition(tp, records, good[tp])

    def _validated(self, tp: TopicPartition, records: list[Any]) -> dict[int, Any]:
        """Records by offset; what breaks the contract goes to the dead letters, once even when called again."""
        found = {}
        last_refused = self._refused.get(tp, -1)
        for message in records:
            try:
                found[message.offset] = read_record(tp.topic, message.value)
            except BadValue as bad:
                if message.offset > last_refused:
                    self._refuse(message, bad)
                    self._refused[tp] = message.offset
        return found

    def _refuse(self, message: Any, bad: BadValue) -> None:
        self._sender.letter(
            message.topic, message.value or b"", reason=bad.reason, detail=bad.detail, source_topic=message.topic,
            source_partition=message.partition, source_offset=message.offset,
        )  # fmt: skip

    def _write_partition(self, tp: TopicPartition, records: list[Any], good: dict[int, Any]) -> None:
        for dt, run in by_day(records):
            rows = [(message, good[message.offset]) for message in run if message.offset in good]
            if rows:
                file = RawFile(tp.topic, tp.partition, run[0].offset, run[-1].offset, dt)
                self._s3("put_object", Key=file.key, Body=to_parquet(to_table(tp.topic, rows)))

    def not_committed(self, batch: dict[TopicPartition, list[Any]]) -> None:
        """Our files stay: the next owner adopts them, or removes what it has itself.

        Only `assigned` removes; two consumers that both did could each remove the other's copy.
        """

    def _s3(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self._settings.lake_bucket, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise s3.translate(error, self._settings) from error


def run(settings: Settings, until_end: bool = False, **options: Any) -> int:
    """Consume until stopped, or up to the end; returns the number of records consumed.

    Raises:
        TerminalError: lake and Kafka do not belong together, or the store refuses us.
    """
    kafka.ensure_topics(settings)
    s3.ensure_buckets(settings)
    with Sender(settings) as sender:
        return Loop(settings, LakeSink(settings, sender), **options).run(until_end)


if __name__ == "__main__":
    from bookworks.cli.consumer import main

    main(run, "Kafka to the lake.")
