"""Rows by name: each once, rising, whatever the column holds."""

import pyarrow as pa
import pytest

from bookworks.models.rows_by_name import rows_by_name

TEXTS = pa.chunked_array([["A", None, "a"], ["b", "A", ""]])
LISTS = pa.chunked_array([pa.array([["x", "x"], None, ["X", "a"], [], [""], ["y"]])])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([TEXTS], {"a": [0, 2, 4], "b": [3]}),
        ([LISTS], {"x": [0, 2], "a": [2], "y": [5]}),
        ([TEXTS, LISTS], {"a": [0, 2, 4], "b": [3], "x": [0, 2], "y": [5]}),
        ([pa.chunked_array([pa.nulls(3)])], {}),
        ([pa.chunked_array([], pa.string())], {}),
        ([], {}),
    ],
)
def test_rows_by_name(columns, expected):
    assert {name: rows.tolist() for name, rows in rows_by_name(columns, str.lower).items()} == expected
