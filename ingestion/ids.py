"""Edition ids. An ISBN is one book everywhere, so its ISBN-13 is the id in every source; other keys carry a prefix."""

from __future__ import annotations

import re
from functools import lru_cache

from bookworks.isbn import to_isbn13

# What may be an ISBN: digits with an X at the end, hyphens or blanks between. Anything else in it makes it a key.
_ISBN_TEXT = re.compile(r"[0-9][0-9 -]*[0-9Xx]")


@lru_cache(maxsize=65_536)
def edition_id_of_isbn(text: str) -> str | None:
    """The ISBN-13 of a text that is written as an ISBN and has a right check digit, else None.

    A nine-digit ISBN that lost its leading zero is restored; shorter texts are too often right by chance.
    """
    if _ISBN_TEXT.fullmatch(text) is None:
        return None
    length = sum(c not in " -" for c in text)
    return to_isbn13(text) if length in (9, 10, 13) else None
