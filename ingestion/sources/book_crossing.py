"""The Book-Crossing dump in its classic layout: `;` between quoted fields, latin-1, CRLF, `\\"` inside fields.

A title may end in a backslash, so that `\\"` seems to swallow the separator; a Location may hold a
line break. See docs/sources/book-crossing.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bookworks.contracts.records import uuid7_of
from ingestion.rows import Context, FileKind, RawRow, Record, Refused, Source, joined, text_or_none, whole_number

NAME = "book-crossing"
PREFIX = "bx"  # shared with the comma layout: the same readers and books
OLDEST, YOUNGEST = 100, 5

_ISBN_LIKE = re.compile(r"[0-9]{9}[0-9Xx]|97[89][0-9]{10}")
_RATING = re.compile(rb'"([^"\\;]*)";"([^"\\;]*)";"([^"\\;]*)"')
_COUNTRY_JUNK = re.compile(r"""[\s"'.`\\)]+$|^[\s"'.`\\(]+""")
_NO_COUNTRY = frozenset({"", "n/a", "na", "null", "-", "none"})


def fields(raw: bytes, n: int) -> list[str]:
    """The `n` fields of one row.

    Fields are told apart at `";"`, which reads titles that end in a backslash as they were meant. Only where
    that gives too many fields, `\\"` is read as an escaped quote; where neither fits, the row is refused.

    Raises:
        Refused: not `n` fields either way, or no quotes around them.
    """
    text = raw.decode("latin-1")
    for split in (_at_separators, _with_escapes):
        found = split(text)
        if found is not None and len(found) == n:
            return [part.replace('\\"', '"').replace('""', '"') for part in found]
    seen = _at_separators(text)
    count = "no quotes around the row" if seen is None else f"{len(seen)} fields"
    raise Refused("wrong_field_count", f"{count}, allowed is {n} quoted fields separated by ;")


def _at_separators(text: str) -> list[str] | None:
    """Split at `;` between quoted fields; the last may be an unquoted NULL."""
    null_last = text.endswith(";NULL")
    body = text[: -len(";NULL")] if null_last else text
    if len(body) < 2 or body[0] != '"' or body[-1] != '"':
        return None
    found = body[1:-1].split('";"')
    return [*found, "NULL"] if null_last else found


_ESCAPED = re.compile(r'"((?:[^"\\]|\\.|"")*)"(?:;|$)|(NULL)(?:;|$)', re.DOTALL)


def _with_escapes(text: str) -> list[str] | None:
    """Split with `\\` as escape character; None when something is left over."""
    found, at = [], 0
    while at < len(text):
        match = _ESCAPED.match(text, at)
        if match is None:
            return None
        found.append(match[1] if match[1] is not None else match[2])
        at = match.end()
    return found


def _complete(n: int) -> Callable[[bytes], bool]:
    def complete(raw: bytes) -> bool:
        try:
            fields(raw, n)
        except Refused:
            return False
        return True

    return complete


def _split_users(lines: Iterator[RawRow]) -> Iterator[RawRow]:
    return joined(lines, _complete(3))


def _split_books(lines: Iterator[RawRow]) -> Iterator[RawRow]:
    return joined(lines, _complete(8))


def edition_id_of(isbn: str) -> str:
    """The id of a Book-Crossing book: its ISBN-13, or `bx:` and the key as written where that is no ISBN.

    Raises:
        Refused: there is no key.
    """
    from ingestion.ids import edition_id_of_isbn

    key = isbn.strip()
    if not key:
        raise Refused("no_isbn", "the ISBN field is empty")
    return edition_id_of_isbn(key) or f"{PREFIX}:{key[:180]}"


def user_id_of(text: str) -> str:
    """The id of a Book-Crossing reader.

    Raises:
        Refused: it is no number.
    """
    return f"{PREFIX}:{whole_number(text.strip(), 'user_id', 0, 10**9)}"


def age_of(text: str) -> tuple[int | None, str | None]:
    """Age, and the text as written where it is no plausible age of a reader (5 to 100)."""
    digits = text.strip().rstrip('"')
    if digits in ("", "NULL"):
        return None, None
    if digits.isascii() and digits.isdigit() and YOUNGEST <= int(digits[:9]) <= OLDEST:
        return int(digits), None
    return None, digits[:100]


def reader_record(user_id: str, location: str, country: str, age: str) -> Record:
    """A reader; an implausible age is set aside in `age_as_written`."""
    years, implausible = age_of(age)
    named = _COUNTRY_JUNK.sub("", country).lower()
    record: Record = {
        "user_id": user_id_of(user_id),
        "location": text_or_none(location),
        "country": None if named in _NO_COUNTRY else named,
        "age": years,
    }
    if implausible is not None:
        record["age_as_written"] = implausible
    return record


def rating_record(user_id: str, isbn: str, rating: str) -> Record:
    """A rating; 0 stands for read and not rated. Its id depends on reader and book alone."""
    user, edition = user_id_of(user_id), edition_id_of(isbn)
    value = whole_number(rating.strip(), "rating", 0, 10)
    return {
        "event_id": uuid7_of(f"{PREFIX}:rating:{user}:{edition}"),
        "kind": "rating",
        "user_id": user,
        "edition_id": edition,
        "value": float(value),
        "occurred_at": None,
    }


def book_record(isbn: str, title: str, author: str, year: str, publisher: str, image: str | None = None) -> Record:
    """A book as written; year 0 stands for unknown.

    Raises:
        Refused: there is no title or no key.
    """
    if not title.strip():
        raise Refused("no_title", f"the book {isbn[:40]!r} has no title")
    return {
        "edition_id": edition_id_of(isbn),
        "title": title,
        "author": text_or_none(author),
        "isbn": isbn.strip(),
        "year": None if year.strip() in ("", "0", "NULL") else year.strip(),
        "publisher": text_or_none(publisher),
        "image_url": text_or_none(image or ""),
    }


def _parse_book(raw: bytes, context: Context) -> Record:
    isbn, title, author, year, publisher, _small, _medium, large = fields(raw, 8)
    return book_record(isbn, title, author, year, publisher, large)


def _parse_user(raw: bytes, context: Context) -> Record:
    user_id, location, age = fields(raw, 3)
    return reader_record(user_id, location, location.rpartition(",")[2], age)


def _parse_rating(raw: bytes, context: Context) -> Record:
    quick = _RATING.fullmatch(raw)
    if quick is None:
        return rating_record(*fields(raw, 3))
    user_id, isbn, rating = (part.decode("latin-1") for part in quick.groups())
    return rating_record(user_id, isbn, rating)


SOURCE = Source(
    NAME,
    (
        FileKind(
            "BX-Books", ("BX-Books.csv",), "catalogue", _parse_book, "edition_id", split=_split_books,
            header=(b'"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";'
                    b'"Image-URL-S";"Image-URL-M";"Image-URL-L"',),
            required=True,
        ),
        FileKind(
            "BX-Users", ("BX-Users.csv",), "readers", _parse_user, "user_id", split=_split_users,
            header=(b'"User-ID";"Location";"Age"',), required=True,
        ),
        FileKind(
            "BX-Book-Ratings", ("BX-Book-Ratings.csv",), "interactions", _parse_rating, "event_id",
            header=(b'"User-ID";"ISBN";"Book-Rating"',), required=True,
        ),
    ),
)  # fmt: skip
