import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import graph
from tests.support.bundles import make_tiny_bundle


@pytest.mark.parametrize(
    ("series", "name", "volume"),
    [
        ("Discworld, #4", "Discworld", 4),
        ("Discworld #4.5", "Discworld", 4.5),
        ("Discworld 4", "Discworld", 4),
        ("The Wheel of Time, Book 3", "The Wheel of Time", 3),
        ("Foundation (2)", "Foundation", 2),
        ("Foundation Vol. 2", "Foundation", 2),
        ("Discworld", "Discworld", None),
        ("  Two   Words ", "Two Words", None),
        ("1984", "1984", None),
        ("Area 51, #1", "Area 51", 1),
    ],
)
def test_volumes(series, name, volume):
    assert graph.split_volume(series) == (name, volume)


def test_rows():
    works = pa.table(
        {
            "work_id": ["w1", "w2", "w3"],
            "title": ["A", "B", "C"],
            "author": ["Ann", "ann ", None],
            "author_id": ["a1", None, None],
            "series": ["S, #1", "s #2", None],
        }
    )
    editions = pa.table({"edition_id": ["e1"], "isbn13": pa.array([None], pa.string()), "work_id": ["w1"]})
    tables = graph.build(works, editions)
    assert tables["authors"] == [{"author_id": "a1", "name": "Ann"}, {"author_id": "name:ann", "name": "ann "}]
    assert [row["work_id"] for row in tables["wrote"]] == ["w1", "w2"]
    assert tables["series"] == [{"series_id": "s", "name": "S"}]
    assert [row["volume"] for row in tables["in_series"]] == [1, 2]
    assert tables["edition_of"] == [{"edition_id": "e1", "work_id": "w1"}]
    assert tables["works"][0]["publisher"] is None


def test_the_dump_has_every_row(tmp_path):
    tables = graph.read(make_tiny_bundle(tmp_path / "b"))
    graph.dump(tables, tmp_path)
    for name in graph.SCHEMAS:
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.schema.equals(graph.SCHEMAS[name])
        assert table.to_pylist() == [{k: row[k] for k in graph.SCHEMAS[name].names} for row in tables[name]]
    assert len(tables["editions"]) == 120
