"""The Book-Crossing dump in a comma layout: UTF-8, LF, City, State and Country apart, stray quotes.

Readers, books and ratings are those of the classic layout and get the same ids.
See docs/sources/book-crossing-comma.md.
"""

from __future__ import annotations

from ingestion.csv_rows import fields, split_csv
from ingestion.rows import Context, FileKind, Record, Source
from ingestion.sources.book_crossing import book_record, rating_record, reader_record

NAME = "book-crossing-comma"


def _parse_book(raw: bytes, context: Context) -> Record:
    isbn, title, author, year, publisher = fields(raw, 5)
    return book_record(isbn, title, author, year, publisher)


def _parse_user(raw: bytes, context: Context) -> Record:
    user_id, city, state, country, age = fields(raw, 5)
    parts = (part.strip().rstrip('"').strip() for part in (city, state, country))
    return reader_record(user_id, ", ".join(part for part in parts if part), country, age)


def _parse_rating(raw: bytes, context: Context) -> Record:
    user_id, isbn, rating = fields(raw, 3)
    return rating_record(user_id, isbn, rating)


SOURCE = Source(
    NAME,
    (
        FileKind(
            "BX-Books", ("BX-Books.csv",), "catalogue", _parse_book, "edition_id", split=split_csv,
            header=(b"ISBN,Book-Title,Book-Author,Year-Of-Publication,Book-Publisher",), required=True,
        ),
        FileKind(
            "BX-Users", ("BX-Users.csv",), "readers", _parse_user, "user_id", split=split_csv,
            header=(b"User-ID,User-City,User-State,User-Country,User-Age",), required=True,
        ),
        FileKind(
            "BX-Ratings", ("BX-Ratings.csv", "BX-Book-Ratings.csv"), "interactions", _parse_rating, "event_id",
            header=(b"User-ID,ISBN,Book-Rating",), required=True,
        ),
    ),
)  # fmt: skip
