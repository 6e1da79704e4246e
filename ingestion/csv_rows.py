"""Rows of comma-separated files: quotes doubled inside quoted fields (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from ingestion.rows import RawRow, Refused, decode, joined

MAX_FIELD = 256 * 1024


def quotes_closed(raw: bytes) -> bool:
    """Whether every quote that opens in these bytes closes in them."""
    return raw.count(b'"') % 2 == 0


def split_csv(lines: Iterator[RawRow]) -> Iterator[RawRow]:
    """Rows of a file whose quoted fields may hold line breaks."""
    return joined(lines, quotes_closed)


def fields(raw: bytes, n: int, delimiter: str = ",") -> list[str]:
    """The `n` fields of a UTF-8 row.

    Raises:
        Refused: not UTF-8, not `n` fields, or quotes that do not close.
    """
    text = decode(raw, "utf-8")
    if '"' not in text:
        found = text.split(delimiter)
    else:
        try:
            found = next(csv.reader([text], delimiter=delimiter, strict=False), [])
        except csv.Error as error:
            raise Refused("bad_quotes", str(error)) from None
        if not quotes_closed(raw):
            raise Refused("bad_quotes", "a quote opens and does not close")
    if len(found) != n:
        raise Refused("wrong_field_count", f"{len(found)} fields, allowed is {n}")
    return found
