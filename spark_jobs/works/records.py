"""Editions as rows of any catalogue to what identity looks at: one dict in, one dict out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bookworks.isbn import isbns_in
from spark_jobs.codes import language_code
from spark_jobs.text_repair import repair
from spark_jobs.works.languages import guess_language
from spark_jobs.works.persons import (
    TRANSLATOR,
    WRITER,
    Aliases,
    Person,
    names_are_inverted,
    parse_persons,
    without_statement,
)
from spark_jobs.works.publishers import publisher
from spark_jobs.works.titles import parse_series, parse_title, series_as_written
from spark_jobs.works.words import fold, words

# What identity may know of an edition; all but the id may be null.
FIELDS = ("edition_id", "title", "author", "isbn", "publisher", "year", "language", "series", "format")
MOST_ISBNS = 40

_text = pa.string()
PARSED = pa.schema([
    pa.field("edition_id", _text, nullable=False),
    pa.field("main", _text), pa.field("subtitle", _text), pa.field("series", _text), pa.field("volume", _text),
    pa.field("series_number", _text), pa.field("kind", _text),
    pa.field("surname", _text), pa.field("given", _text), pa.field("others", _text),
    pa.field("publisher", _text), pa.field("year", _text), pa.field("language", _text), pa.field("guess", _text),
    pa.field("isbns", pa.list_(_text)),
    # For people: the author, under which name it stands there, the series; whether a translator is named.
    pa.field("author", _text), pa.field("written", _text), pa.field("series_name", _text),
    pa.field("translated", pa.bool_()),
    # Of which row it was made, to see later whether it still holds; whether its name is written "Surname, Given".
    pa.field("source", _text), pa.field("fingerprint", _text), pa.field("vote", pa.int64()),
    # Editions that are spelled alike are one node.
    pa.field("spelled", _text),
])  # fmt: skip
SPELLING = ("surname", "given", "main", "subtitle", "volume", "series_number", "kind")
_ALONE = "\u0000"  # begins what an edition is spelled like that is a node by itself

_NOBODY = Person("", "", WRITER, "", "")
_YEAR = re.compile(r"(?<!\d)(1[4-9]\d\d|20\d\d)(?!\d)")
_NO_TITLE = frozenset({
    "untitled", "no title", "title unknown", "unknown title", "sans titre", "ohne titel", "sin titulo", "unknown",
    "n a", "na", "none", "null", "tbd", "not available",
})  # fmt: skip


def parse_record(row: dict[str, Any], inverted: bool, aliases: Aliases) -> dict[str, Any]:
    """What identity looks at of one edition; texts are folded, but those for people, '' where there is nothing.

    Args:
        row: `FIELDS`, as the source wrote them.
        inverted: whether its catalogue writes "Surname, Given" (`persons.names_are_inverted`).
        aliases: names that are another's.
    """
    text = {name: _repaired(_string(row.get(name))) for name in ("title", "author", "publisher", "series", "language")}
    persons = _persons(text["author"], inverted, aliases)
    bare, statement = without_statement(text["title"], persons)
    persons = (*persons, *_further(persons, _persons(statement, False, aliases)))
    title = parse_title(bare)
    series, series_number = parse_series(text["series"])
    series = series or title.series
    first = persons[0] if persons else _NOBODY
    year = _YEAR.search(_string(row.get("year")) or "")
    return {
        "edition_id": str(row["edition_id"]),
        "main": "" if title.main in _NO_TITLE else title.main,
        "subtitle": title.subtitle, "series": series, "volume": title.volume,
        "series_number": series_number or title.series_number,
        "kind": title.kind, "surname": first.surname, "given": first.given,
        "others": " ".join(sorted({person.surname for person in persons[1:]})),
        "publisher": publisher(text["publisher"]), "year": year[1] if year else "",
        "language": language_code(text["language"]) or words(fold(text["language"])),
        "guess": guess_language(bare),
        "isbns": isbns(_string(row.get("isbn"))),
        "author": first.name, "written": first.written,
        "series_name": series_as_written(series, text["series"], bare) if series else "",
        "translated": any(person.role == TRANSLATOR for person in persons),
    }  # fmt: skip


def _further(persons: Sequence[Person], stated: Sequence[Person]) -> list[Person]:
    """The persons of a statement that the author's field does not name."""
    known = {person.surname for person in persons}
    return [person for person in stated if person.surname not in known]


# Authors, publishers, series stand in many rows.
_persons = lru_cache(maxsize=100_000)(parse_persons)


@lru_cache(maxsize=100_000)
def _repaired(text: str | None) -> str:
    return repair(text)[0] or ""


def isbns(text: str | None) -> list[str]:
    """All ISBN-13s in a text that may hold many, sorted."""
    return sorted(isbns_in(text, 2 * MOST_ISBNS))[:MOST_ISBNS]


def _string(value: Any) -> str | None:
    return None if value is None else str(value)


def fingerprints(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """A digest of each row: its `FIELDS` and its `source`; `nodes.with_fingerprint` is its twin."""
    columns = (pc.fill_null(rows[name], "\0") for name in (*FIELDS, "source"))
    texts = pc.binary_join_element_wise(*columns, "\1").to_pylist()
    return pa.array([md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts], pa.string())


def told(row: Mapping[str, Any]) -> bool:
    """Whether a parsed edition names an author and a title."""
    return row["surname"] != "" and row["main"] != ""


def spelling(row: Mapping[str, Any], apart: Collection[str]) -> str:
    """What a parsed edition is spelled like; those spelled alike are one node.

    An edition without an author or a title is a node by itself: it matches nobody by what it lacks. So is one that
    a person set `apart`.
    """
    if not told(row) or row["edition_id"] in apart:
        return f"{_ALONE}{row['edition_id']}"
    return "\1".join(row[name] for name in SPELLING)


@dataclass(frozen=True)
class Reading:
    """How the rows of a catalogue are to be read.

    Attributes:
        inverted: the sources that write "Surname, Given".
        aliases: names that are another's.
        apart: editions that a person set apart.
    """

    inverted: frozenset[str]
    aliases: Aliases
    apart: frozenset[str] = frozenset()


def parse_batches(batches: Iterable[pa.RecordBatch], reading: Reading) -> Iterator[pa.RecordBatch]:
    """`PARSED` of batches of `FIELDS`, `source` and `fingerprint`."""
    for batch in batches:
        yield pa.RecordBatch.from_pylist([_parsed(row, reading) for row in batch.to_pylist()], schema=PARSED)


def _parsed(row: dict[str, Any], reading: Reading) -> dict[str, Any]:
    parsed = parse_record(row, row["source"] in reading.inverted, reading.aliases)
    origin = {"source": row["source"], "fingerprint": row["fingerprint"], "vote": names_are_inverted(row["author"])}
    return parsed | origin | {"spelled": spelling(parsed, reading.apart)}


def spell_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Parsed editions, of which something was changed, with what they are spelled like now."""
    for batch in batches:
        rows = [row | {"spelled": spelling(row, ())} for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(rows, schema=PARSED)
