"""Offsets of Kafka against lake and dead letters: each is stored, a known duplicate, dead-lettered, or missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kafka import TopicPartition

from bookworks.adapters import kafka, s3
from bookworks.contracts.lake import raw_prefix
from bookworks.settings import Settings
from ingestion import dead_letters
from ingestion.kafka_to_lake import GROUP
from ingestion.lake_files import RawFile

# What makes a record the same as one before it.
IDENTITY = {
    "interactions": ["event_id", "user_id"],
    "decisions": ["decision_id"],
    "catalogue": ["source", "edition_id"],
    "readers": ["source", "user_id"],
}


@dataclass
class PartitionCount:
    """Where the offsets of one partition are; `produced` = `stored` + `duplicate` + `dead_lettered` + `missing`.

    Attributes:
        produced: offsets that Kafka gave and still holds.
        stored: in the lake, the first of their identity.
        duplicate: in the lake too, but the same identity lies at a lower offset.
        dead_lettered: refused by the lake's consumer, kept in the dead-letter topic.
        missing: in none of these.
        pending: of the missing, those that the lake's consumer has not committed yet.
        doubled: rows in the lake whose offset is there already, or that are dead letters as well.
    """

    topic: str
    partition: int
    produced: int
    stored: int
    duplicate: int
    dead_lettered: int
    missing: int
    pending: int
    doubled: int

    def adds_up(self, allow_pending: bool = False) -> bool:
        """Whether nothing is missing (or only pending, where that is allowed) and nothing doubled."""
        missing = self.missing - (self.pending if allow_pending else 0)
        return missing == 0 and self.doubled == 0


def reconcile(settings: Settings, topics: Iterable[str]) -> list[PartitionCount]:
    """Counts of every partition.

    Raises:
        TransientError: Kafka or the lake does not answer.
    """
    names = list(topics)
    reader = kafka.consumer(settings, group=GROUP)
    try:
        with kafka.translated(settings):
            ends = kafka.end_offsets(reader, names)
            begins = reader.beginning_offsets(list(ends))
            committed = {tp: reader.committed(tp) or begins[tp] for tp in ends}
    finally:
        reader.close()
    counts = []
    for topic in names:
        stored = _stored(settings, topic)
        refused = _refused(settings, topic)
        for tp in sorted(tp for tp in ends if tp.topic == topic):
            counts.append(_count(tp, (begins[tp], ends[tp]), committed[tp], stored, refused[tp.partition]))
    return counts


def _count(
    tp: TopicPartition, span: tuple[int, int], committed: int, stored: pa.Table, refused: set[int]
) -> PartitionCount:
    begin, end = span
    rows = stored.filter(pc.equal(stored["kafka_partition"], tp.partition))
    all_offsets = rows["kafka_offset"].to_numpy()
    inside = (all_offsets >= begin) & (all_offsets < end)
    offsets, first = np.unique(all_offsets[inside], return_index=True)
    duplicate = int(rows["duplicate"].to_numpy(zero_copy_only=False)[inside][first].sum())
    dead = np.array(sorted(o for o in refused if begin <= o < end), dtype=np.int64)
    both = np.intersect1d(offsets, dead, assume_unique=True)
    known = np.union1d(offsets, dead)
    pending = (end - max(committed, begin)) - int((known >= committed).sum()) if committed < end else 0
    return PartitionCount(
        topic=tp.topic, partition=tp.partition, produced=end - begin, stored=len(offsets) - duplicate,
        duplicate=duplicate, dead_lettered=len(dead) - len(both), missing=end - begin - len(known), pending=pending,
        doubled=int(inside.sum()) - len(offsets) + len(both),
    )  # fmt: skip


def _stored(settings: Settings, topic: str) -> pa.Table:
    """Partition, offset and whether it is a duplicate, of every row of the lake."""
    columns = ["kafka_partition", "kafka_offset", *IDENTITY[topic]]
    store = s3.filesystem(settings)
    tables = []
    for key in s3.list_keys(settings, settings.lake_bucket, raw_prefix(topic)):
        if RawFile.of(key) is not None:
            with s3.opened(settings, store, f"{settings.lake_bucket}/{key}") as file:
                tables.append(pq.read_table(file, columns=columns, use_threads=False))
    if not tables:
        empty = {"kafka_partition": pa.int32(), "kafka_offset": pa.int64(), "duplicate": pa.bool_()}
        return pa.schema(list(empty.items())).empty_table()
    return _with_duplicates(pa.concat_tables(tables), IDENTITY[topic])


def _with_duplicates(table: pa.Table, identity: list[str]) -> pa.Table:
    """Mark rows whose identity lies at a lower offset of their partition (of any partition where keys moved)."""
    key = pc.binary_join_element_wise(*(table[name] for name in identity), "\x1f")
    codes = key.combine_chunks().dictionary_encode().indices.to_numpy()
    offsets, partitions = table["kafka_offset"].to_numpy(), table["kafka_partition"].to_numpy()
    order = np.lexsort((partitions, offsets, codes))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = codes[order][1:] == codes[order][:-1]
    duplicate = np.empty(len(order), dtype=bool)
    duplicate[order] = same
    return table.select(["kafka_partition", "kafka_offset"]).append_column("duplicate", pa.array(duplicate))


def _refused(settings: Settings, topic: str) -> dict[int, set[int]]:
    """Offsets that are in the dead letters, by partition; one that was delivered twice counts once."""
    found: dict[int, set[int]] = defaultdict(set)
    for letter in dead_letters.read(settings, topic):
        if letter.replayed is None and (source := letter.source_offset) is not None:
            found[source[0]].add(source[1])
    return found
