"""University library loans: items with several ISBNs, loans with times.

See docs/sources/library-loans.md.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from bookworks.contracts.records import uuid7_of
from bookworks.isbn import to_isbn13
from ingestion.csv_rows import fields, split_csv
from ingestion.rows import Context, FileKind, Record, Refused, Source, text_or_none, whole_number

NAME = "library-loans"
PREFIX = "library"
EARLIEST, LATEST = 86_400.0 * 365, 4_102_444_800.0  # 1971 to 2100, Unix seconds


def _item(text: str) -> str:
    return f"{PREFIX}:{whole_number(text.strip(), 'item', 0, 10**9)}"


def _parse_item(raw: bytes, context: Context) -> Record:
    title, author, isbns, publisher, subjects, item = fields(raw, 6)
    named = title.strip().rstrip("/").strip()
    if not named:
        raise Refused("no_title", f"the item {item[:40]!r} has no title")
    written = [part.strip() for part in isbns.split(";") if part.strip()]
    known = list(dict.fromkeys(isbn for isbn in map(to_isbn13, written) if isbn))
    return {
        "edition_id": _item(item),
        "title": named,
        "author": text_or_none(author),
        "isbn": known[0] if known else (written[0] if written else None),
        "isbns": known,
        "publisher": text_or_none(publisher),
        "subjects": [part.strip() for part in subjects.split(";") if part.strip()],
    }


def _time(text: str) -> datetime:
    """A moment from Unix seconds written as a float.

    Raises:
        Refused: no number, or not between 1971 and 2100.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not EARLIEST <= seconds < LATEST:
        raise Refused("bad_time", f"the time is {text[:40]!r}, allowed are Unix seconds from 1971 to 2100")
    return datetime.fromtimestamp(seconds, UTC)


def _parse_loan(raw: bytes, context: Context) -> Record:
    user, item, at = fields(raw, 3)
    user_id = f"{PREFIX}:{whole_number(user.strip(), 'user_id', 0, 10**9)}"
    edition_id, moment = _item(item), _time(at)
    return {
        # The time is part of the id: a renewal is a loan of its own.
        "event_id": uuid7_of(f"{PREFIX}:loan:{user_id}:{edition_id}:{moment.isoformat()}", moment),
        "kind": "loan",
        "user_id": user_id,
        "edition_id": edition_id,
        "occurred_at": moment.isoformat().replace("+00:00", "Z"),
    }


SOURCE = Source(
    NAME,
    (
        FileKind("items", ("items.csv",), "catalogue", _parse_item, "edition_id", split=split_csv,
                 header=(b"Title,Author,ISBN Valid,Publisher,Subjects,i",), required=True),
        FileKind("interactions", ("interactions.csv",), "interactions", _parse_loan, "event_id",
                 header=(b"u,i,t",), required=True),
    ),
)  # fmt: skip
