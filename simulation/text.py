"""How an edition's text differs from its work's: subtitles, typos, and the encodings that real dumps broke."""

from __future__ import annotations

import html

import numpy as np

from simulation import words
from simulation.world import Editions, Works


def garble(text: str, kind: int) -> str:
    """UTF-8 read as latin-1 (0), the same twice (1), as Windows-1252 (2), or with lost bytes as `?` (3)."""
    if kind == 0:
        return _misread(text, "latin-1")
    if kind == 1:
        return _misread(_misread(text, "latin-1"), "latin-1")
    if kind == 2:
        return _misread(text, "cp1252")
    return "".join(c if c.isascii() else "?" + _misread(c, "latin-1")[1:] for c in text)


def _misread(text: str, codec: str) -> str:
    return text.encode("utf-8").decode(codec, errors="replace")


def typo(text: str, rng: np.random.Generator) -> str:
    """One swapped, dropped or doubled letter."""
    if len(text) < 4:
        return text
    i = int(rng.integers(1, len(text) - 2))
    kind = int(rng.integers(0, 3))
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind == 1 else text[:i] + text[i] + text[i:]


def edition_record(works: Works, editions: Editions, e: int, rng: np.random.Generator) -> dict[str, object]:
    """The catalogue row of edition `e`, without times."""
    w, variants = int(editions.work[e]), editions.variants[e]
    code = words.LANGUAGES[int(editions.language[e])]
    genres = np.argsort(-works.vectors[w])[:2]
    title, author = _vary(works, editions, e, rng)
    return {
        "edition_id": editions.edition_ids[e],
        "title": title,
        "author": author,
        "isbn": editions.isbns[e],
        "year": str(int(works.year[w]) + (0 if e == editions.first[w] else int(rng.integers(0, 12)))),
        "publisher": words.PUBLISHERS[int(rng.integers(0, len(words.PUBLISHERS)))],
        "language": code if rng.random() < 0.9 else None,
        "series": works.series_name(w) if "series" in variants and rng.random() < 0.5 else None,
        "format": ("paperback", "hardcover", "ebook")[int(rng.integers(0, 3))],
        "subjects": [words.GENRES[int(g)] for g in genres],
    }


def _vary(works: Works, editions: Editions, e: int, rng: np.random.Generator) -> tuple[str, str | None]:
    """Title and author of edition `e` with its variants applied."""
    w, variants = int(editions.work[e]), editions.variants[e]
    title = works.title(w, int(editions.language[e]))
    author: str | None = works.author_names[int(works.author[w])]
    if "subtitle" in variants:
        title = f"{title}: {words.SUBTITLES[words.LANGUAGES[int(editions.language[e])]]}"
    if "series" in variants:
        title = f"{title} ({works.series_name(w)}, #{int(works.volume[w])})"
    if "typo" in variants:
        title = typo(title, rng)
    if "upper" in variants:
        title = title.upper()
    if "author_reversed" in variants:
        first, _, last = str(author).rpartition(" ")
        author = f"{last}, {first}"
    if "mojibake" in variants:
        kind = int(rng.integers(0, 4))
        title, author = garble(title, kind), garble(str(author), kind)
    if "html" in variants:
        title = html.escape(title.replace(" and ", " & "))
    return title, None if "no_author" in variants else author
