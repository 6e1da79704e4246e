"""goodbooks-10k: a catalogue with original titles and tags, ratings 1 to 5, shelves, and interactions without rating.

See docs/sources/goodbooks-10k.md.
"""

from __future__ import annotations

import re
from typing import Any

from bookworks.contracts.records import uuid7_of
from bookworks.isbn import check_digit13, to_isbn13
from ingestion.csv_rows import fields, split_csv
from ingestion.rows import (
    Context,
    FileKind,
    Lookup,
    Record,
    Refused,
    Source,
    text_or_none,
    whole_number,
)

NAME = "goodbooks-10k"
PREFIX = "goodbooks"
TAGS_KEPT = 10
RATING_SCALE = 2.0  # goodbooks rates 1 to 5, bookworks 0 to 10

_FLOAT_ISBN13 = re.compile(r"9\.7[89]\d{0,10}e\+12")
_BOOK_COLUMNS = (
    b"book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,original_publication_year,"
    b"original_title,title,language_code,average_rating,ratings_count,work_ratings_count,work_text_reviews_count,"
    b"ratings_1,ratings_2,ratings_3,ratings_4,ratings_5,image_url,small_image_url"
)


def isbn_of(isbn: str, isbn13: str) -> str | None:
    """The ISBN of a book.

    `isbn` has lost its leading zeros; `isbn13` was written as a float of twelve digits: the thirteenth is
    the check digit, so it can be computed.
    """
    found = to_isbn13(isbn)
    if found is None and _FLOAT_ISBN13.fullmatch(isbn13.strip()):
        twelve = isbn13.strip().removesuffix("e+12").replace(".", "").ljust(12, "0")[:12]
        found = twelve + check_digit13(twelve)
    return found or text_or_none(isbn)


def _book(text: str) -> str:
    return f"{PREFIX}:{whole_number(text.strip(), 'book_id', 1, 10**9)}"


def _user(text: str) -> str:
    return f"{PREFIX}:{whole_number(text.strip(), 'user_id', 0, 10**9)}"


def _parse_book(raw: bytes, context: Context) -> Record:
    row = fields(raw, 23)
    title = row[10].strip() or row[9].strip()
    if not title:
        raise Refused("no_title", f"the book {row[0][:40]!r} has no title")
    return {
        "edition_id": _book(row[0]),
        "title": title,
        "author": text_or_none(row[7]),
        "isbn": isbn_of(row[5], row[6]),
        "year": text_or_none(row[8].removesuffix(".0")),
        "language": text_or_none(row[11]),
        "image_url": text_or_none(row[21]),
        "subjects": _subjects(row[1].strip(), context),
        "original_title": text_or_none(row[9]),
        "source_work_id": text_or_none(row[3]),
    }


def _event(what: str, kind: str, user: str, book: str, value: float | None) -> Record:
    user_id, edition_id = _user(user), _book(book)
    return {
        "event_id": uuid7_of(f"{PREFIX}:{what}:{user_id}:{edition_id}"),
        "kind": kind,
        "user_id": user_id,
        "edition_id": edition_id,
        "value": value,
        "occurred_at": None,
    }


def _parse_rating(raw: bytes, context: Context) -> Record:
    user, book, rating = fields(raw, 3)
    return _event("rating", "rating", user, book, RATING_SCALE * whole_number(rating.strip(), "rating", 1, 5))


def _parse_to_read(raw: bytes, context: Context) -> Record:
    user, book = fields(raw, 2)
    return _event("to_read", "shelve", user, book, None)


def _parse_interaction(raw: bytes, context: Context) -> Record:
    user, book = fields(raw, 2, delimiter="\t")
    return _event("read", "rating", user, book, 0.0)


def _add_tag(raw: bytes, context: Context) -> bool:
    """Context `tags`: tag id to its name."""
    tag, name = fields(raw, 2)
    tag_id = whole_number(tag.strip(), "tag_id", 0, 10**9)
    if not name.strip():
        raise Refused("no_tag_name", f"the tag {tag_id} has no name")
    return _added(context.setdefault("tags", {}), tag_id, name)


def _add_tag_use(raw: bytes, context: Context) -> bool:
    """Context `tag_uses`: Goodreads' id of a book to ids of its tags and how often each was given."""
    book, tag, count = (text.strip() for text in fields(raw, 3))
    goodreads_book_id = whole_number(book, "goodreads_book_id", 1, 10**9)
    tag_id = whole_number(tag, "tag_id", 0, 10**9)
    if tag_id not in context.get("tags", {}):
        raise Refused("unknown_tag", f"tag_id is {tag_id}, which tags.csv does not have")
    uses = context.setdefault("tag_uses", {}).setdefault(str(goodreads_book_id), {})
    return _added(uses, tag_id, whole_number(count, "count", 0, 10**9))


def _added(found: dict[int, Any], tag_id: int, value: object) -> bool:
    """Whether it is new.

    Raises:
        Refused: another value came before.
    """
    if tag_id not in found:
        found[tag_id] = value
        return True
    if found[tag_id] != value:
        raise Refused("contradicts_earlier_row", f"the tag {tag_id} came before with {found[tag_id]!r}")
    return False


def _subjects(goodreads_book_id: str, context: Context) -> list[str]:
    """Names of the tags that the book was given most often; of those as often, the last by name first."""
    names: dict[int, str] = context.get("tags", {})
    uses = context.get("tag_uses", {}).get(goodreads_book_id, {})
    return [name for _, name in sorted(((n, names[tag_id]) for tag_id, n in uses.items()), reverse=True)[:TAGS_KEPT]]


SOURCE = Source(
    NAME,
    (
        FileKind("books", ("books.csv",), "catalogue", _parse_book, "edition_id", split=split_csv,
                 header=(_BOOK_COLUMNS,), required=True),
        FileKind("ratings", ("ratings.csv", "samples/ratings.csv"), "interactions", _parse_rating, "event_id",
                 header=(b"user_id,book_id,rating",)),
        FileKind("to_read", ("to_read.csv", "samples/to_read.csv"), "interactions", _parse_to_read, "event_id",
                 header=(b"user_id,book_id",)),
        FileKind("interactions_3k", ("interactions_3k.csv",), "interactions", _parse_interaction, "event_id"),
    ),
    (
        Lookup("tags", ("tags.csv",), "catalogue", _add_tag, split=split_csv, header=(b"tag_id,tag_name",)),
        Lookup("book_tags", ("book_tags.csv", "samples/book_tags.csv"), "catalogue", _add_tag_use,
               header=(b"goodreads_book_id,tag_id,count",)),
    ),
)  # fmt: skip
