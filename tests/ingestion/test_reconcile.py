"""Which rows of the lake count as duplicates."""

from __future__ import annotations

import pyarrow as pa

from ingestion.reconcile import IDENTITY, _with_duplicates


def test_an_event_is_known_by_reader_and_id_together():
    rows = [(0, 5, "e1", "u1"), (0, 3, "e1", "u1"), (1, 0, "e1", "stranger"), (0, 7, "e2", "u1")]
    names = ["kafka_partition", "kafka_offset", "event_id", "user_id"]
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    marked = _with_duplicates(table, IDENTITY["interactions"])
    assert marked["duplicate"].to_pylist() == [True, False, False, False]
