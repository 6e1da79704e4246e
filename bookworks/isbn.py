"""ISBN-10 and ISBN-13: check digits, conversion, repair of lost leading zeros (ISO 2108)."""

from __future__ import annotations

import re

_NOT_ISBN = re.compile(r"[^0-9Xx]")


def _check10(digits: str) -> str:
    total = sum((10 - i) * int(d) for i, d in enumerate(digits[:9]))
    value = (11 - total % 11) % 11
    return "X" if value == 10 else str(value)


def check_digit13(digits: str) -> str:
    """Check digit of the first twelve digits of an ISBN-13."""
    total = sum((1, 3)[i % 2] * int(d) for i, d in enumerate(digits[:12]))
    return str((10 - total % 10) % 10)


def is_isbn10(text: str) -> bool:
    """Whether `text` is ten characters with a right check digit."""
    return len(text) == 10 and text[:9].isdigit() and text[9].upper() == _check10(text)


def is_isbn13(text: str) -> bool:
    """Whether `text` is thirteen digits, 978 or 979, with a right check digit."""
    return len(text) == 13 and text.isdigit() and text[:3] in ("978", "979") and text[12] == check_digit13(text)


def to_isbn13(raw: str | None) -> str | None:
    """The ISBN-13 of `raw`, or None when it is no ISBN.

    Hyphens and blanks are dropped; leading zeros lost by a spreadsheet are restored when the
    check digit then fits.
    """
    if not raw or not raw.isascii():
        return None
    text = _NOT_ISBN.sub("", raw).upper()
    if is_isbn13(text):
        return text
    if 7 <= len(text) < 10:
        text = text.zfill(10)
    if is_isbn10(text) and text != "0000000000":
        body = "978" + text[:9]
        return body + check_digit13(body)
    return None
