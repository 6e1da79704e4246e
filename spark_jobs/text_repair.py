"""Repair of a catalogue's texts: wrong decoding, HTML entities, escapes. Pure Python, no Spark.

Each function returns the text and says by its name in `repairs` what it changed.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

import ftfy

NULL_WORDS = frozenset({"", "null", "none", "nan", "n/a", "na", "\\n"})

FIX = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False)

# UTF-8 read as Latin-1 twice, where a program in between wrote "?" for the C1 control
# characters: "ü" became "Ã?Â¼", and once more "Ã\x83?Ã\x82Â¼". What stands last is the
# second byte of a letter whose first byte was C3.
_THRICE = re.compile("(?:\xc3\x83\\?\xc3\x82|\xc3\\?)\xc2([\x80-\xbf])")
# The same where the last byte was lost too: only "ß" stands after a small letter.
_SHARP_S = re.compile("(?<=[a-zäöü])(?:\xc3\x83\\?\xc3\x82|\xc3\\?\xc2)\\?")
_LOST = re.compile("(?:\xc3\x83\\?\xc3\x82|\xc3\\?\xc2)\\?")
# "?¼" for "ü": the C3 itself was lost. Not "?»" and its like, which end a French question.
_HALF = re.compile("\\?([\xa1-\xaa\xac-\xba\xbc-\xbe])|\\?([\xab\xbb\xbf])(?=[a-zà-ÿ])|\\?(\xa0)(?=\\s|$)")


def _letter(second_byte: str) -> str:
    return bytes([0xC3, ord(second_byte)]).decode("utf-8")


def undo_decoding(text: str) -> str:
    """Undo wrong decoding, layer by layer, until nothing changes; letters that are lost become U+FFFD."""
    if text.isascii():
        return text
    text = _THRICE.sub(lambda match: _letter(match[1]), text)
    text = _SHARP_S.sub("ß", text)
    text = _LOST.sub("\ufffd", text)
    text = _HALF.sub(lambda match: _letter(match[1] or match[2] or match[3]), text)
    return ftfy.fix_text(text, FIX)


def undo_entities(text: str) -> str:
    """Resolve HTML entities, also those that were escaped twice (`&amp;#233;`)."""
    for _ in range(2):
        if "&" not in text:
            break
        text = html.unescape(text)
    return text


_SWALLOWED = re.compile(r"[\\\"]*\\[\\\"]*$")  # a backslash before the closing quote, and what it let through
_OPENING = re.compile(r"\\(?=\w)")


def undo_escapes(text: str) -> str:
    """Drop the backslashes by which a dump escaped its quotes, and quotes left around the whole."""
    if "\\" in text:
        text = text.replace('\\"', '"').replace("\\'", "'") if not _SWALLOWED.search(text) else text
        text = _OPENING.sub('"', _SWALLOWED.sub("", text)).replace("\\", "")
    if '"' not in text:
        return text
    text = text.replace('""', '"')
    return text[1:-1] if text[0] == text[-1] == '"' and text.count('"') == 2 else text


def tidy(text: str) -> str:
    """NFC, no control characters, single blanks, none at the ends."""
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable() or c.isspace())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("encoding", undo_decoding),
    ("entities", undo_entities),
    ("escapes", undo_escapes),
    ("blanks", tidy),
)


def repair(text: str | None) -> tuple[str | None, list[str]]:
    """The repaired text (None when it says nothing) and the names of the repairs that changed it."""
    if text is None or not text.strip():
        return None, []
    repairs: list[str] = []
    for name, step in STEPS:
        if text.strip().casefold() in NULL_WORDS:
            return None, [*repairs, "null_word"]
        after = step(text)
        if after != text:
            repairs.append(name)
        text = after
    return text or None, repairs


_TRAILING_SLASH = re.compile(r"\s*[/:;,=]+$")


def clean_title(text: str) -> str:
    """A title without the slash or colon with which library records end one."""
    return _TRAILING_SLASH.sub("", text)


_DATES = re.compile(r",?\s*\(?\b(?:b\.|d\.|ca\.?|fl\.)?\s*\d{3,4}\s*\??\s*-?\s*(?:\d{3,4}\??)?\)?\.?(?=,|;|$)")
_ROLE = re.compile(r"\s*\((?:[^)]*)\)")
_INITIALS = re.compile(r"\b([A-Z])\.(?=[A-Z])")
_NOBODY = frozenset({"anonymous", "anonyme", "unknown", "various", "various authors", "not applicable", "no author",
                     "author unknown", "collectif", "collective", "diverse", "autores varios"})  # fmt: skip


def clean_author(text: str) -> str | None:
    """An author as shown: "First Last", no dates, no roles; None when nobody is named."""
    text = _ROLE.sub("", _DATES.sub("", text)).strip(" ,;/.-") if any(c in text for c in "(0123456789,;/") else text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) >= 2 and _is_surname(parts[0]) and len(parts[1].split()) <= 3:
        text = ", ".join([f"{parts[1]} {parts[0]}", *parts[2:]])
    text = _INITIALS.sub(r"\1. ", text)
    if text.isupper() and len(text) > 4:
        text = text.title()
    return None if not text or text.casefold().strip(".") in _NOBODY else text


_PARTICLES = frozenset({"de", "da", "di", "du", "del", "della", "la", "le", "van", "von", "der", "den", "ten", "el"})


def _is_surname(part: str) -> bool:
    """Whether the words before a first comma are a surname alone ("Le Guin"), not a whole name."""
    words = part.split()
    return len([word for word in words if word.casefold() not in _PARTICLES]) == 1


_LEGAL = re.compile(
    r"[\s,]+(?:inc|incorporated|ltd|limited|llc|corp|corporation|co|gmbh|& co|&amp; co|s\.?a|s\.?l|ag|plc|pty)\.?$",
    re.I,
)


def clean_publisher(text: str) -> str | None:
    """A publisher without the form of its company ("Inc.", "GmbH & Co. KG", "Ltd")."""
    before = None
    text = re.sub(r"\s*&\s*co\.?\s*kg\.?$", "", text, flags=re.I)
    while before != text:
        before, text = text, _LEGAL.sub("", text).strip(" ,;:")
    return text or None
