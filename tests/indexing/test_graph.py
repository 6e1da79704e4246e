import pyarrow as pa
import pyarrow.parquet as pq

from indexing import graph
from tests.support.bundles import make_tiny_bundle


def table(*works):
    names = ("work_id", "author", "author_id", "author_name", "author_aliases", "series", "series_id", "series_number")
    return pa.Table.from_pylist([dict.fromkeys((*names, "title", "year")) | work for work in works])


EDITIONS = pa.table({"edition_id": ["e1"], "isbn13": pa.array([None], pa.string()), "work_id": ["w1"]})


def test_rows():
    king = {"author_id": "king stephen", "author_name": "Stephen King", "author_aliases": ["Richard Bachman"]}
    tables = graph.build(
        table(
            {"work_id": "w1", "title": "Rage", "author": "Richard Bachman", "original_title": "Rage", **king},
            {"work_id": "w2", "title": "It", "author": "Stephen King", **king},
            {"work_id": "w3", "title": "Poems", "author": "Various"},
        ),
        EDITIONS,
    )
    assert tables["authors"] == [{"author_id": "king stephen", "name": "Stephen King", "aliases": ["Richard Bachman"]}]
    assert [row["work_id"] for row in tables["wrote"]] == ["w1", "w2"]
    assert tables["series"] == tables["in_series"] == tables["next_in_series"] == []
    assert tables["edition_of"] == [{"edition_id": "e1", "work_id": "w1"}]
    assert tables["works"][0]["publisher"] is None
    assert tables["works"][0]["original_title"] == "Rage"


def test_each_work_of_a_series_leads_to_the_next_number():
    numbers = {"w1": 1, "w2": 2, "again": 2, "half": 2.5, "w4": 4, "tie": 4, "none": None}
    years = {"w2": 1999, "again": 1990, "w4": 2000, "tie": 2001}
    wheel = {"series": "The Wheel", "series_id": "jordan|wheel"}
    works = [{"work_id": one, "series_number": n, "year": years.get(one), **wheel} for one, n in numbers.items()]
    tables = graph.build(table(*works[::-1], {"work_id": "alone", "series_number": None}), EDITIONS)
    assert tables["series"] == [{"series_id": "jordan|wheel", "name": "The Wheel"}]
    assert {row["work_id"]: row["number"] for row in tables["in_series"]} == numbers
    assert {row["work_id"]: row["next_work_id"] for row in tables["next_in_series"]} == {
        "w1": "again", "w2": "half", "again": "half", "half": "w4",
    }  # fmt: skip


def test_a_bundle_of_an_older_version_has_authors_but_no_series():
    works = pa.table({"work_id": ["w1"], "title": ["A"], "author": ["Ann"], "author_id": ["a1"], "series": ["S #1"]})
    tables = graph.build(works, EDITIONS)
    assert tables["authors"] == [{"author_id": "a1", "name": "Ann", "aliases": None}]
    assert tables["in_series"] == []


def test_the_dump_has_every_row(tmp_path):
    tables = graph.read(make_tiny_bundle(tmp_path / "b"))
    graph.dump(tables, tmp_path)
    for name in graph.SCHEMAS:
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.schema.equals(graph.SCHEMAS[name])
        assert table.to_pylist() == [{k: row[k] for k in graph.SCHEMAS[name].names} for row in tables[name]]
    assert len(tables["editions"]) == 120
