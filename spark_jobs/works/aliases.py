"""Names under which an author is known too: pen names, transliterations, spellings.

`authors.csv` beside this file, and a file of the user's with the same columns, which stands above it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bookworks.errors import SettingError
from spark_jobs.works.words import fold, words

SHIPPED = Path(__file__).with_name("authors.csv")
COLUMNS = ("alias", "name", "kind")
KINDS = PEN_NAME, TRANSLITERATION, SPELLING = ("pen name", "transliteration", "spelling")


class Alias(NamedTuple):
    """One line: who is called `alias`, is `name`; both in the order "given surname"."""

    alias: str
    name: str
    kind: str


def load_aliases(own: Path | None = None) -> tuple[Alias, ...]:
    """The shipped names and the user's, one entry for each alias.

    A line of the user's whose alias and name are the same takes a shipped alias out.

    Raises:
        SettingError: the file cannot be read, or a line has a fault; the message names it.
    """
    found: dict[str, tuple[int, Alias]] = {}
    for path in (SHIPPED, own) if own else (SHIPPED,):
        lines = dict(_keyed(path))
        found |= lines
        for line, one in lines.values():
            shadow = found.get(_key(one.name))
            if shadow and _key(shadow[1].name) != _key(one.name):
                raise _fault(path, line, f"name {one.name!r}, an alias of {shadow[1].name!r}", "the name itself")
    return tuple(one for key, (_, one) in sorted(found.items()) if key != _key(one.name))


def _key(name: str) -> str:
    return words(fold(name))


def _keyed(path: Path) -> Iterator[tuple[str, tuple[int, Alias]]]:
    """Checked lines by what they call, with their numbers."""
    seen: dict[str, Alias] = {}
    for line, row in _rows(path):
        one = Alias(*row)
        key = _key(one.alias)
        if not key or not _key(one.name):
            raise _fault(path, line, f"alias {one.alias!r}, name {one.name!r}", "names with letters in both")
        if set(one.alias + one.name) & set(",;/"):
            raise _fault(path, line, f"alias {one.alias!r}, name {one.name!r}", 'one person each, "given surname"')
        if one.kind not in KINDS:
            raise _fault(path, line, f"kind {one.kind!r}", ", ".join(KINDS))
        if key in seen and _key(seen[key].name) != _key(one.name):
            raise _fault(path, line, f"{one.alias!r} for {one.name!r}", f"one name; above it is {seen[key].name!r}")
        seen[key] = one
        yield key, (line, one)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Fields of each line that has any, with its number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            head = [field.strip() for field in next(reader, [])]
            if head != list(COLUMNS):
                raise _fault(path, 1, f"columns {', '.join(head) or 'none'}", ", ".join(COLUMNS))
            for row in reader:
                fields = [field.strip() for field in row]
                if any(fields):
                    if len(fields) != len(COLUMNS):
                        raise _fault(path, reader.line_num, f"{len(fields)} fields", ", ".join(COLUMNS))
                    yield reader.line_num, fields
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        todo = "name a CSV in UTF-8 with the columns " + ", ".join(COLUMNS)
        raise SettingError("The authors' aliases cannot be read", received=f"{path}: {error}", todo=todo) from None


def _fault(path: Path, line: int, received: str, allowed: str) -> SettingError:
    return SettingError(
        f"Line {line} of the authors' aliases has a fault", received=f"{received} ({path})", allowed=allowed,
        todo="correct the line; see docs/works.md.",
    )  # fmt: skip
