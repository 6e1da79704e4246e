"""INSERT statements are told from the data behind them."""

from __future__ import annotations

import pytest

from infra.local.clickhouse_insert import Insert, split_insert


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n\n3,4", Insert("INSERT INTO t ", "CSV", b"1,2\n\n3,4")),
        (
            b"insert into `format` (a, `b)`) format Native \r\n\n\n\x01",
            Insert("insert into `format` (a, `b)`) ", "Native", b"\n\n\x01"),
        ),
        (
            b"/* FORMAT x */ INSERT INTO t (values) VALUES (1)",
            Insert("/* FORMAT x */ INSERT INTO t (values) ", "Values", b" (1)"),
        ),
        (
            b"-- SELECT\nINSERT INTO t SETTINGS a=1 FORMAT TSV",
            Insert("-- SELECT\nINSERT INTO t SETTINGS a=1 ", "TSV", b""),
        ),
        (b"INSERT INTO t FORMAT Values (1);", Insert("INSERT INTO t ", "Values", b"(1);")),
        (b"INSERT INTO t SELECT 1 FORMAT CSV", None),
        (b"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x", None),
        (b"SELECT 'INSERT INTO t FORMAT CSV'", None),
        (b"(SELECT 1) FORMAT CSV", None),
        (b"", None),
    ],
)
def test_split(text: bytes, expected: Insert | None) -> None:
    assert split_insert(text) == expected
