"""A book as HTML. Catalogues may say anything in titles and addresses: all is escaped, and nothing runs."""

from __future__ import annotations

import textwrap
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from bookworks.client import BookPath, RecommendedBook

NO_TITLE = "(without a title)"
_HUES = (12, 40, 95, 150, 195, 225, 265, 320)
_LINE, _LINES = 15, 6  # letters and lines of a title on a drawn cover
_SHOWN, _NAME, _DRAWN_NAME = 300, 120, 22  # letters of a title, and of an author in words and on a cover

STYLE = """<style>
.book { display: flex; gap: 1rem; align-items: flex-start; }
.book .cover { flex: none; width: 96px; height: 144px; border-radius: 4px; overflow: hidden; display: flex;
  align-items: center; justify-content: center; background-size: cover; box-shadow: 0 1px 4px rgba(0, 0, 0, .35); }
.book .cover img { max-width: 100%; max-height: 100%; }
.book h3 { font-size: 1.05rem; line-height: 1.3; margin: 0; padding: 0; overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; }
.book p { margin: .25rem 0 0; overflow-wrap: anywhere; font-size: .92rem; }
.book .why { opacity: .8; }
[data-testid=stAppDeployButton] { display: none; }
</style>"""

REASONS: Mapping[str, str] = {
    "item_filter": "readers of your books read it",
    "content_ease": "it goes with the books, authors and series that you read",
    "same_author": "it is by an author that you read",
    "next_in_series": "it goes on with a series that you began",
    "title_text": "its title is like those that you read",
    "vectors": "it is near to your taste",
    "tastes": "it has what you said that you like",
    "popularity": "many readers like it",
    "promoted": "it is put forward just now",
    "exploration": "it is something else, to try",
}
FOUND: Mapping[str, str] = {
    "words": "it has your words",
    "isbn": "it has this ISBN",
    "isbn_slip": "its ISBN is like the one that you typed",
    "title_text": "its title means something like it",
    "vectors": "it is read with what you look for",
}


LED: Mapping[str, str] = {
    "next_in_series": "It comes after",
    "same_series": "It is of the series of",
    "same_author": "It is by the author of",
    "read_by_the_same_readers": "It was read by readers of",
}


def card(title: str, author: str | None, year: int | None, image_url: str | None, why: str = "") -> str:
    """A book: cover, title, author and year, and why it is shown."""
    shown = cut(title, _SHOWN) or NO_TITLE
    by = ", ".join([cut(author or "", _NAME) or "unknown author", *([str(year)] if year else [])])
    reason = f'<p class="why">{escape(why)}</p>' if why else ""
    return (
        f'<article class="book">{cover(title, author, image_url)}'
        f'<div><h3 title="{escape(title)}">{escape(shown)}</h3><p>{escape(by)}</p>{reason}</div></article>'
    )


def cover(title: str, author: str | None, image_url: str | None) -> str:
    """The picture, over a drawn cover that stays where it does not load; no words, they stand beside it."""
    drawn = b64encode(drawn_cover(title, author).encode()).decode()
    picture = ""
    if image_url and is_picture(image_url):
        picture = f'<img src="{escape(image_url)}" alt="" loading="lazy" referrerpolicy="no-referrer">'
    under = f"background-image: url('data:image/svg+xml;base64,{drawn}')"
    return f'<div class="cover" style="{under}">{picture}</div>'


def is_picture(address: str) -> bool:
    """Whether an address may be one of a picture: of the web, and no script or file."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def drawn_cover(title: str, author: str | None) -> str:
    """An SVG with title and author; the same book has the same colour."""
    hue = _HUES[sum(map(ord, title + (author or ""))) % len(_HUES)]
    lines = textwrap.wrap(_drawable(title), _LINE, max_lines=_LINES, placeholder=" …") or textwrap.wrap(NO_TITLE, _LINE)
    text = "".join(f'<tspan x="12" dy="21">{escape(line)}</tspan>' for line in lines)
    by = escape(cut(_drawable(author or ""), _DRAWN_NAME))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="240" font-family="Georgia, serif">'
        f'<rect width="160" height="240" fill="hsl({hue}, 38%, 30%)"/><rect x="5" width="2" height="240" fill="#fff3"/>'
        f'<text y="18" font-size="17" fill="#fff">{text}</text>'
        f'<text x="12" y="224" font-size="12" fill="#fffd">{by}</text></svg>'
    )


def cut(text: str, most: int) -> str:
    """With single blanks, and an end where it is too long."""
    short = " ".join(text.split())
    return short if len(short) <= most else f"{short[: most - 1]}…"


def _drawable(text: str) -> str:
    """Without what XML has no place for."""
    return "".join(c if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF else " " for c in text)


def why(reasons: list[str], words: Mapping[str, str] = REASONS) -> str:
    """The strongest two reasons in words."""
    known = [words[reason] for reason in reasons if reason in words][:2]
    return f"Because {' and '.join(known)}." if known else ""


def why_at_length(book: RecommendedBook) -> list[str]:
    """All reasons in words, the strongest first, each with its share, the reader's own books that lead to it, and how
    likely it is to be read.
    """
    known = [reason for reason in book.reasons if reason in REASONS]
    spoke = sum(value for value in book.sources.values() if value > 0)
    lines = [f"{_sentence(REASONS[one])}{_share(book.sources.get(one, 0.0), spoke)}." for one in known]
    lines += [_led(path) for path in book.paths if path.relation in LED]
    chance = (book.explanation or {}).get("probability")
    if chance is not None:
        many = "fewer than one" if chance < 0.01 else f"about {chance:.0%}".rstrip("%")
        lines.append(f"Of 100 readers like you, {many} would read it.")
    return lines or ["The service gives no reason."]


def _led(path: BookPath) -> str:
    rated = f", which you rated {path.rating:g}" if path.rating else ""
    return f"{LED[path.relation]} “{cut(path.title, _NAME) or NO_TITLE}”{rated}."


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _share(part: float, whole: float) -> str:
    """Of all that spoke for a book; nothing is said of what a rule did."""
    return f": {part / whole:.0%} of what speaks for it" if part > 0 else ""


def named(title: str, author: str | None) -> str:
    """A book in a line: title and author."""
    return ", ".join([cut(title, _NAME) or NO_TITLE, *([cut(author, _NAME)] if author else [])])


def plain(text: str) -> str:
    """The text without what Streamlit would read as a sign of its markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|~<>$:&@" else c for c in " ".join(text.split()))
