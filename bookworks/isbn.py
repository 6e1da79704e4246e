"""ISBN-10 and ISBN-13: check digits, conversion, repair of lost leading zeros (ISO 2108)."""

from __future__ import annotations

import re
import unicodedata

_NOT_ISBN = re.compile(r"[^0-9Xx]")
_CUT = re.compile(r"[;,|/\s]+")
_FLOAT = re.compile(r"(\d)[.,](\d+)e\+?(\d{1,2})", re.I)
_ENOUGH = 10  # digits of a number from which an ISBN-13 is told: `9.78044E+12` is one of millions


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


def read_isbn(raw: str | None) -> tuple[str | None, str | None]:
    """The ISBN-13 that a text says, None without one; and the rule by which it was mended or refused.

    - `isbn_number`: a spreadsheet made it a number. `9.78043902348e+12` was rounded to twelve digits: it is the one
      ISBN, or the one of two, that rounds so; where both do, and in `9.78044E+12`, too much is lost.
    - `isbn_leading_zero`: zeros in front were lost; put back where the check digit then fits.
    - `isbn_check_digit`: it has the length of an ISBN, but the check digit is wrong.
    - `no_isbn`: it says something else.

    Hyphens, blanks and words around it are no fault, and neither is an ISBN-10.
    """
    if not raw or not raw.strip():
        return None, None
    text = unicodedata.normalize("NFKC", raw).strip()
    number = _FLOAT.fullmatch(text)
    if number:
        found = _of_number(number[1] + number[2], int(number[3]) + 1)
        return found, "isbn_number" if found else "no_isbn"
    whole = text.removesuffix(".0")
    digits = _NOT_ISBN.sub("", whole).upper()
    if (found := _exact(digits)) is not None:
        return found, "isbn_number" if whole != text else None
    if 7 <= len(digits) < 10 and (found := _exact(digits.zfill(10))) is not None:
        return found, "isbn_leading_zero"
    is_like_one = len(digits) == 10 or (len(digits) == 13 and digits[:3] in ("978", "979"))
    return None, "isbn_check_digit" if is_like_one else "no_isbn"


def _of_number(digits: str, length: int) -> str | None:
    """The ISBN of a number of `length` digits of which the first are known."""
    if len(digits) == length:
        return to_isbn13(digits)
    if length != 13 or len(digits) < _ENOUGH or digits[:3] not in ("978", "979"):
        return None
    rounded = int(digits.ljust(12, "0"))
    could_be = [f"{body}{check_digit13(str(body))}" for body in (rounded, rounded - 1)]
    fitting = [isbn for isbn in could_be if f"{int(isbn):.11e}" == f"{10 * rounded:.11e}"]
    return fitting[0] if len(fitting) == 1 else None


def _exact(digits: str) -> str | None:
    if is_isbn13(digits) and not _made_up(digits[3:12]):
        return digits
    if is_isbn10(digits) and not _made_up(digits[:9]):
        body = "978" + digits[:9]
        return body + check_digit13(body)
    return None


def _made_up(body: str) -> bool:
    """One digit again and again: what is typed where a form asks for an ISBN."""
    return len(set(body)) == 1


def to_isbn13(raw: str | None) -> str | None:
    """The ISBN-13 of `raw`, or None when it is no ISBN; see `read_isbn`."""
    return read_isbn(raw)[0]


def meant_isbns(digits: str) -> list[str]:
    """ISBN-13s that differ from ten or thirteen characters with a wrong check digit by one slip.

    The ones with another last digit come first, then one wrong digit elsewhere, then two neighbours in the wrong order.
    """
    digits = digits.upper()
    places = [*range(len(digits) - 1, -1, -1)]
    wrong = [digits[:i] + digit + digits[i + 1 :] for i in places for digit in "0123456789X"]
    turned = [digits[: i - 1] + digits[i] + digits[i - 1] + digits[i + 1 :] for i in places[:-1]]
    found = (_exact(text) for text in (*wrong, *turned) if "X" not in text[:-1])
    return list(dict.fromkeys(isbn for isbn in found if isbn))


def isbns_in(text: str | None, most: int = 80) -> list[str]:
    """All ISBN-13s in a text, in its order, each once; of the first `most` words."""
    whole = to_isbn13(text)
    if whole or not text:
        return [whole] if whole else []
    found = (to_isbn13(part) for part in _CUT.split(text)[:most])
    return list(dict.fromkeys(isbn for isbn in found if isbn))
