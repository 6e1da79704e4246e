"""Split `INSERT INTO t (…) FORMAT X <data>` into statement, format and data.

chDB takes data behind a statement only up to the first empty line, which binary data may well hold; given apart it
takes anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Words, quoted names and strings, comments, brackets: what may stand between INSERT and its data.
TOKEN = re.compile(
    rb"""\s+ | --[^\n]*(?:\n|$) | \#[ !][^\n]*(?:\n|$) | /\*.*?\*/
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`)
    | (?P<word> [A-Za-z_][A-Za-z0-9_]*) | (?P<open> \() | (?P<close> \)) | (?P<other> .)""",
    re.VERBOSE | re.DOTALL,
)
AFTER_FORMAT = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")
WITH_QUERY = frozenset({b"SELECT", b"WITH", b"WATCH", b"INFILE", b"EXPLAIN"})  # the rows come from elsewhere


@dataclass(frozen=True)
class Insert:
    """An INSERT and its data.

    Attributes:
        statement: up to, not with, FORMAT or VALUES.
        input_format: the format's name, `Values` for VALUES.
        data: the rows in that format.
    """

    statement: str
    input_format: str
    data: bytes


def split_insert(text: bytes) -> Insert | None:
    """The parts of an INSERT that brings its rows along; None for every other statement."""
    depth, first, place = 0, True, 0
    while (token := TOKEN.match(text, place)) is not None:
        place = token.end()
        word = (token["word"] or b"").upper()
        if first and (word or token["other"]):
            if word != b"INSERT":
                return None
            first = False
        depth += bool(token["open"]) - bool(token["close"])
        if depth or not word:
            continue
        if word in WITH_QUERY:
            return None
        if word == b"VALUES":
            return Insert(text[: token.start()].decode(), "Values", text[place:])
        if word == b"FORMAT":
            return _after_format(text, token.start(), place)
    return None


def _after_format(text: bytes, start: int, place: int) -> Insert | None:
    while (token := TOKEN.match(text, place)) is not None and not token["word"]:
        place = token.end()
    if token is None:
        return None
    end = AFTER_FORMAT.match(text, token.end())
    data = text[end.end() if end else token.end() :]
    return Insert(text[:start].decode(), token["word"].decode(), data)
