"""A slice of the real Book-Crossing dump, bytes untouched: its most rated books, their ratings and readers."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

DIRTY_RATINGS = 300  # rating rows of other books, so that orphans and odd ISBNs are in the slice too


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from file


def _key(line: bytes, column: int) -> bytes:
    parts = line.split(b";")
    return parts[column].strip(b'"\r\n ') if len(parts) > column else b""


def write_slice(source: Path, target: Path, books: int) -> None:
    """Write BX-Books.csv, BX-Users.csv and BX-Book-Ratings.csv of the `books` most rated books to `target`."""
    header, *ratings = _lines(source / "BX-Book-Ratings.csv.gz")
    book_header, *book_lines = _lines(source / "BX-Books.csv.gz")
    known = {_key(line, 0) for line in book_lines}
    counts = Counter(isbn for isbn in (_key(line, 1) for line in ratings) if isbn in known)
    chosen = {isbn for isbn, _ in counts.most_common(books)}
    kept = [line for line in ratings if _key(line, 1) in chosen]
    others = [line for line in ratings if _key(line, 1) not in chosen][:DIRTY_RATINGS]
    readers = {_key(line, 0) for line in kept + others}
    user_header, *user_lines = _lines(source / "BX-Users.csv.gz")
    target.mkdir(parents=True, exist_ok=True)
    (target / "BX-Book-Ratings.csv").write_bytes(b"".join([header, *kept, *others]))
    (target / "BX-Books.csv").write_bytes(b"".join([book_header, *(b for b in book_lines if _key(b, 0) in chosen)]))
    (target / "BX-Users.csv").write_bytes(b"".join([user_header, *(u for u in user_lines if _key(u, 0) in readers)]))
