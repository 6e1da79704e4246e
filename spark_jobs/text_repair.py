"""Repair of a catalogue's texts: wrong decoding, HTML entities, escapes. Pure Python, no Spark.

`repair` applies them all and says what each changed.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import ftfy

NULL_WORDS = frozenset({"", "null", "none", "nan", "n/a", "na", "\\n"})

FIX = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False, normalization=None)

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


def restore_lost_bytes(text: str) -> str:
    """Put back letters of which a byte was lost on the way; those that nothing tells become U+FFFD."""
    if text.isascii():
        return text
    text = _THRICE.sub(lambda match: _letter(match[1]), text)
    text = _SHARP_S.sub("ß", text)
    text = _LOST.sub("\ufffd", text)
    return _HALF.sub(lambda match: _letter(match[1] or match[2] or match[3]), text)


def undo_decoding(text: str) -> str:
    """Undo wrong decoding, layer by layer, until nothing changes."""
    return text if text.isascii() else ftfy.fix_text(text, FIX)


def undo_entities(text: str) -> str:
    """Resolve HTML entities, also those that were escaped twice (`&amp;#233;`)."""
    for _ in range(2):
        if "&" not in text:
            break
        text = html.unescape(text)
    return text


_PAIRED = re.compile(r'(?:[^\\"]*\\"[^\\"]*\\")+[^\\"]*')  # each escaped quote has its mate, and no other backslash


def undo_escapes(text: str) -> str:
    """Undo the backslashes by which a dump escaped its quotes, and drop quotes left around the whole."""
    if "\\" in text:
        text = text.replace('\\"', '"') if _PAIRED.fullmatch(text) else _without_backslashes(text)
    if '"' not in text:
        return text
    text = text.replace('""', '"')
    return text[1:-1] if text[0] == text[-1] == '"' and text.count('"') == 2 else text


def _without_backslashes(text: str) -> str:
    """A backslash that stands like a quote is one of which the quote was lost; others are dropped."""
    bare = text.rstrip('\\"')
    kept = bare if "\\" in text[len(bare) :] else text  # it stood before the closing quote, and let more through
    told = kept.replace('\\"', '"').replace("\\'", "'")
    found = ""
    for at, letter in enumerate(told):
        if letter != "\\":
            found += letter
            continue
        is_open, before, after = found.count('"') % 2 == 1, told[at - 1 : at], told[at + 1 : at + 2]
        opens = not is_open and after.isalnum() and not before.isalnum()
        closes = is_open and not before.isspace() and not after.isalnum()
        found += '"' if opens or closes else ""
    return found + '"' if kept != text and found.count('"') % 2 == 1 else found


def tidy(text: str) -> str:
    """No control characters, single blanks, none at the ends."""
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable() or c.isspace())
    return " ".join(text.split())


def compose(text: str) -> str:
    """Letters and their accents as one character (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("lost_byte", restore_lost_bytes),
    ("mojibake", undo_decoding),
    ("html_entity", undo_entities),
    ("escaped_quote", undo_escapes),
    ("accents", compose),
    ("blanks", tidy),
)


class Repair(NamedTuple):
    """What one rule made of a text; None: nothing was left."""

    rule: str
    before: str
    after: str | None


def repair(text: str | None) -> tuple[str | None, list[Repair]]:
    """The repaired text (None when it says nothing) and the repairs that changed it, in order."""
    if text is None or not text.strip():
        return None, []
    repairs: list[Repair] = []
    for rule, step in STEPS:
        if text.strip().casefold() in NULL_WORDS:
            return None, [*repairs, Repair("null_word", text, None)]
        after = step(text)
        if after != text:
            repairs.append(Repair(rule, text, after or None))
        text = after
    return text or None, repairs


_TRAILING_SLASH = re.compile(r"\s*[/:;,=]+$")


def clean_title(text: str) -> str:
    """A title without the slash or colon with which library records end one."""
    return _TRAILING_SLASH.sub("", text)


_ERA = r"(?:\s*(?:B\.?\s?C\.?(?:\s?E\.?)?|A\.\s?D\.?|C\.\s?E\.?|av\.?\s*J\.?\s?-?\s?C\.?|v\.\s*Chr\.?)(?!\w))?"
_SPAN = (  # "427?-347 B.C.", "106-43 B.C.", "1340-", "0384-0322 av. J.-C."
    rf"(?:\d{{3,4}}|\d\d\.\.){_ERA}\s*\??\s*-?\s*(?:(?:\d{{3,4}}|\d{{1,3}}(?=\s*(?:B\.|av\.|v\.)))\??{_ERA})?"
)
SAID = r"(?:b\.|d\.|ca\.?|fl\.|n\.|born|died|active|approximately|circa|flourished)?"
LIVED = rf",?\s*\(?\b{SAID}\s*(?:{_SPAN}|\d\d?(?:st|nd|rd|th) cent(?:ury|\.){_ERA})\)?"
_DATES = re.compile(rf"{LIVED}\.?(?=,|;|$)")
_ROLE = re.compile(r"\s*\((?:[^)]*)\)")
_INITIALS = re.compile(r"\b([A-Z])\.(?=[A-Z])")
_NOBODY = frozenset({"anonymous", "anonyme", "unknown", "various", "various authors", "not applicable", "no author",
                     "author unknown", "collectif", "collective", "diverse", "autores varios"})  # fmt: skip


def clean_author(text: str) -> str | None:
    """An author as shown: "First Last", no dates, no roles; None when nobody is named."""
    dateless = _DATES.sub("", text)
    dated = dateless != text
    text = _ROLE.sub("", dateless).strip(" ,;/.-") if any(c in text for c in "(0123456789,;/") else text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) >= 2 and _is_surname(parts[0]) and (_are_given(parts[1]) or (dated and len(parts[1].split()) <= 3)):
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


def _are_given(part: str) -> bool:
    """Whether these are given names: one, or more that end in an initial or a particle; "Benjamin Jowett" is a name."""
    words = part.strip(".").split()
    last = words[-1].rpartition(".")[2]
    return ";" not in part and (len(words) == 1 or len(last) == 1 or last.casefold() in _PARTICLES)


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
