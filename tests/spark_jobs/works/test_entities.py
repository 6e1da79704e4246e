"""One small catalogue, described once; each test looks at a part of it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from bookworks.contracts.lake import CLEAN_SCHEMAS
from spark_jobs.cluster_works import identity_rows
from spark_jobs.lake import conform, spark_schema
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.entities import describe, format_name, fullest
from spark_jobs.works.nodes import parse

Rows = dict[str, dict[str, Any]]
TOLKIEN, RUSSIAN = "J.R.R. Tolkien", "Фёдор Достоевский"
# work, title, author, year, language, format, series
CATALOGUE = [
    ("hobbit", "THE HOBBIT", TOLKIEN, 1999, "en", "Hardcover", None),
    ("hobbit", "The Hobbit: A Novel", TOLKIEN, 1937, "en", "Library Binding", None),
    ("hobbit", "The Hobbit", "J. R. R. TOLKIEN", None, "en", None, None),
    (
        "hobbit",
        "Der kleine Hobbit",
        f"{TOLKIEN}; aus dem Englischen von W. Scherf",
        1957,
        "de",
        "Taschenbuch",
        None,
    ),
    ("reborn", "The Dragon Reborn (The Wheel of Time, #3)", "Robert Jordan", 1992, "en", "Kindle Edition", None),
    ("reborn", "The Dragon Reborn", "Robert Jordan", 1991, "en", "Mass Market Paperback", "The Wheel of Time 3"),
    ("reborn", "Der wiedergeborene Drache", "Robert Jordan", 1990, None, None, None),
    ("hunt", "The Great Hunt (The Wheel of Time, #2)", "Robert Jordan", 1990, "en", None, None),
    ("spring", "New Spring", "Robert Jordan", 2004, "en", None, "Wheel of Time"),
    ("club", "Reading Lolita (Oprah's Book Club)", "Azar Nafisi", 2003, "en", None, None),
    ("crime", "Schuld und Sühne", "Fjodor M. Dostojewski", 1908, "de", None, None),
    ("crime", "Crime and Punishment", "Fyodor Dostoyevsky", 1914, "en", None, None),
    ("crime", "Crime and Punishment", "Fyodor Dostoyevsky", 1951, "en", None, None),
    ("crime", "Преступление и наказание", RUSSIAN, 1921, "ru", None, None),
    ("idiot", "Идиот", RUSSIAN, 1868, "ru", None, None),
    ("idiot", "The Idiot", "Fyodor Dostoyevsky", 1913, "en", None, None),
    ("demons", "Бесы", RUSSIAN, 1872, "ru", None, None),
    ("stranger", "The Stranger", "Albert Camus; translated by Stuart Gilbert", 1946, "en", None, None),
    ("stranger", "L'Étranger", "Albert Camus", None, "fr", None, None),
    ("plague", "La Peste", "Albert Camus", 1947, "fr", None, None),
    ("garden", "The Garden", "J. Smith", 2000, None, None, None),
    ("garden", "The Garden", "Jane Smith", 2001, None, None, None),
    ("rivers", "Rivers", "J. Smith", 2002, None, None, None),
    ("poems", "Poems", "John Smith", 2002, None, None, None),
    ("emma", "Emma", None, 1815, "en", None, "Classics"),
]
FIELDS = ("work_id", "title", "author", "year", "language", "format", "series")


def tables(spark: SparkSession, rows: list[tuple[Any, ...]], partitions: int) -> list[list[dict[str, Any]]]:
    """Works, authors, series of the catalogue in this order, each sorted."""
    records = [dict(zip(FIELDS, row, strict=True)) | {"edition_id": f"e{CATALOGUE.index(row):02}"} for row in rows]
    schema = pa.schema([field.with_nullable(True) for field in CLEAN_SCHEMAS["editions"]])
    table = pa.Table.from_pylist([{"source": "test", "subjects": [], **record} for record in records], schema=schema)
    editions = spark.createDataFrame(table, schema=spark_schema(schema)).repartition(partitions)
    assigned = spark.createDataFrame(
        [(r["edition_id"], r["work_id"]) for r in records], "edition_id string, work_id string"
    )
    frames = describe(editions, assigned, parse(identity_rows(editions), MatchConfig()))
    return [
        sorted((row.asDict() for row in conform(frame, CLEAN_SCHEMAS[name]).collect()), key=str)
        for name, frame in zip(("works", "authors", "series"), frames, strict=True)
    ]


@pytest.fixture(scope="module")
def described(spark: SparkSession) -> list[list[dict[str, Any]]]:
    return tables(spark, CATALOGUE, 1)


@pytest.fixture(scope="module")
def works(described: list[list[dict[str, Any]]]) -> Rows:
    return {row["work_id"]: row for row in described[0]}


@pytest.fixture(scope="module")
def authors(described: list[list[dict[str, Any]]]) -> Rows:
    return {row["author_id"]: row for row in described[1]}


@pytest.fixture(scope="module")
def series(described: list[list[dict[str, Any]]]) -> Rows:
    return {row["series_id"]: row for row in described[2]}


def test_every_work_and_edition_is_there(works: Rows, authors: Rows) -> None:
    assert len(works) == len({row[0] for row in CATALOGUE})
    assert sum(work["editions"] for work in works.values()) == len(CATALOGUE)
    assert sum(author["works"] for author in authors.values()) == len(works) - 1  # nobody wrote Emma
    assert sum(author["editions"] for author in authors.values()) == len(CATALOGUE) - 1


def test_the_title_is_the_best_written_of_the_most_frequent(works: Rows) -> None:
    titles = {name: work["title"] for name, work in works.items()}
    assert titles["hobbit"] == "The Hobbit"
    assert titles["reborn"] == "The Dragon Reborn"
    assert titles["crime"] == "Crime and Punishment"
    assert titles["club"] == "Reading Lolita (Oprah's Book Club)"


def test_the_original_is_the_first_edition_in_the_authors_language(works: Rows) -> None:
    originals = {name: work["original_title"] for name, work in works.items()}
    assert originals["hobbit"] == "The Hobbit: A Novel"
    assert originals["crime"] == "Преступление и наказание"
    assert originals["stranger"] is None  # its French edition has no year, the English one names a translator
    assert originals["emma"] == "Emma"  # no author: the language of its first edition
    assert originals["garden"] is None


def test_first_year_languages_and_formats(works: Rows) -> None:
    assert (works["hobbit"]["year"], works["hobbit"]["languages"]) == (1937, ["de", "en"])
    assert works["garden"]["languages"] == []
    assert json.loads(works["hobbit"]["formats"]) == {"hardcover": 2, "paperback": 1, "unknown": 1}
    assert json.loads(works["reborn"]["formats"]) == {"ebook": 1, "paperback": 1, "unknown": 1}


def test_spellings_and_aliases_of_one_author(authors: Rows, works: Rows) -> None:
    one = authors["dostoevsky fyodor"]
    assert (one["name"], one["works"], one["first_year"], one["last_year"]) == ("Fyodor Dostoevsky", 3, 1868, 1908)
    assert one["aliases"] == ["Fyodor Dostoyevsky", RUSSIAN, "Fjodor M. Dostojewski"]
    assert authors["tolkien j r r"]["name"] == TOLKIEN
    assert authors["tolkien j r r"]["aliases"] == ["J. R. R. TOLKIEN"]
    assert works["emma"]["author_id"] is None


def test_initials_are_whom_they_share_a_work_with(authors: Rows, works: Rows) -> None:
    assert {key for key in authors if key.startswith("smith")} == {"smith jane", "smith john"}
    assert works["rivers"]["author_id"] == "smith jane"
    assert (authors["smith jane"]["works"], authors["smith john"]["works"]) == (2, 1)


def test_a_series_holds_its_works_in_order(series: Rows, works: Rows) -> None:
    wheel = series["jordan|wheel of time"]
    assert (wheel["name"], wheel["author_id"]) == ("The Wheel of Time", "jordan robert")
    assert (wheel["works"], wheel["work_ids"]) == (3, ["hunt", "reborn", "spring"])
    assert [works[name]["series_number"] for name in wheel["work_ids"]] == [2, 3, None]
    assert {works[name]["series"] for name in wheel["work_ids"]} == {"The Wheel of Time"}
    assert works["club"]["series_id"] is None
    assert set(series) == {"jordan|wheel of time", "classics"}


def test_order_and_partitions_change_nothing(spark: SparkSession, described: list[list[dict[str, Any]]]) -> None:
    assert tables(spark, CATALOGUE[::-1], 3) == described


FORMATS = {
    "Hardcover": "hardcover", "Gebundene Ausgabe": "hardcover", "Relié": "hardcover", "Taschenbuch": "paperback",
    "Mass Market Paperback": "paperback", "Broché": "paperback", "Kindle Edition": "ebook", "ebook": "ebook",
    "Audio CD": "audio", "Audiobook": "audio", "Hörbuch": "audio", "Map": "other", " ": "unknown", None: "unknown",
}  # fmt: skip


@pytest.mark.parametrize("written", FORMATS)
def test_formats_have_few_names(written: str | None) -> None:
    assert format_name(written) == FORMATS[written]


def test_a_spelling_leads_to_the_fullest_it_shares_works_with() -> None:
    shared = {
        ("smith", "j", "john"): 2, ("smith", "j", "jane"): 3, ("smith", "john", "jane"): 9,
        ("smith", "", "j"): 1, ("smith", "jane", "jane mary"): 1, ("king", "j", "stephen"): 4,
    }  # fmt: skip
    both = shared | {(surname, b, a): n for (surname, a, b), n in shared.items()}
    assert fullest(both) == {"smith": "smith jane mary", "smith j": "smith jane mary", "smith jane": "smith jane mary"}
