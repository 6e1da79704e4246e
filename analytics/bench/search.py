"""Search on a real catalogue: does it find the book that is meant, however it is typed, and how soon.

Queries are made of titles drawn by a seed. Typed right, with one slip of the pen, with two, with the words in another
order, and behind the author's name. A slip is a letter too few, too many, another one, or two in the wrong order, in a
word of four letters or more. A book counts as found where a title that is written the same comes (many works have
the same title, and nobody could say which is meant); behind the author's name the author must be the same too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from analytics.bench.report import Figure
from bookworks.errors import ContractError
from bookworks.models.bundle import Bundle
from bookworks.models.search import Filters, Search
from bookworks.models.text_index import fold

N = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 150  # letters of a title that somebody may type
LONG = 4  # letters of a word that may have a slip
PAGE_MIB = 4096 / 2**20


@dataclass(frozen=True)
class Wanted:
    """A work as folded text."""

    title: str
    author: str


def measure(works: pa.Table, make: Callable[[], Search], queries: int, rounds: int, seed: int) -> list[Figure]:
    """Share of queries whose book is first and among the first ten, milliseconds a query, seconds and MiB of the index.

    Args:
        works: `title` and `author`.
        make: makes the search over these works.
        queries: of each kind.
        rounds: each draws queries of its own.
        seed: of the first round.
    """
    before, started = _memory(), time.perf_counter()
    search = make()
    figures = {"build": [time.perf_counter() - started], "memory": [_memory() - before]}
    titles, authors = (works[name].to_pylist() for name in ("title", "author"))
    for number in range(rounds):
        rng, times = random.Random(seed + number), list[float]()
        drawn = _drawn(rng, titles, authors, queries)
        for kind, typed in KINDS.items():
            places = []
            for wanted in drawn:
                query = typed(rng, wanted)
                begun = time.perf_counter()
                hits = search.find(query, N, Filters())
                times.append((time.perf_counter() - begun) * 1000)
                found = [Wanted(fold(titles[hit.index] or ""), fold(authors[hit.index] or "")) for hit in hits]
                places.append(_place(found, wanted, kind == "author_title"))
            for k in (1, N):
                share = sum(place < k for place in places) / len(places)
                figures.setdefault(f"{kind}_recall_at_{k}", []).append(share)
        for q in (50, 99):
            figures.setdefault(f"search_p{q}", []).append(float(np.percentile(times, q)))
    units = {"build": "s", "memory": "MiB", "search_p50": "ms", "search_p99": "ms"}
    return [Figure(name, units.get(name, "share"), values) for name, values in figures.items()]


def _drawn(rng: random.Random, titles: list[str | None], authors: list[str | None], n: int) -> list[Wanted]:
    """Works with an author and a title in which there may be a slip."""
    drawn = list[Wanted]()
    for index in rng.sample(range(len(titles)), len(titles)):
        wanted = Wanted(fold(titles[index] or ""), fold(authors[index] or ""))
        words = wanted.title.split()
        if wanted.author and any(len(word) >= LONG for word in words) and len(wanted.title) < LONGEST:
            drawn.append(wanted)
        if len(drawn) == n:
            return drawn
    raise ContractError("The catalogue is too small", received=f"{len(drawn)} works", allowed=f"{n} with an author")


def slip(rng: random.Random, text: str) -> str:
    """The text with one slip in a word of four letters or more."""
    words = text.split()
    place = rng.choice([i for i, word in enumerate(words) if len(word) >= LONG])
    word = words[place]
    i = rng.randrange(1, len(word) - 1)
    words[place] = rng.choice((
        word[:i] + word[i + 1 :],
        word[:i] + rng.choice(LETTERS) + word[i:],
        word[:i] + rng.choice(LETTERS) + word[i + 1 :],
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
    ))  # fmt: skip
    return " ".join(words)


def _another_order(rng: random.Random, wanted: Wanted) -> str:
    words = wanted.title.split()
    rng.shuffle(words)
    return " ".join(words)


KINDS: Mapping[str, Callable[[random.Random, Wanted], str]] = {
    "exact": lambda _, wanted: wanted.title,
    "one_slip": lambda rng, wanted: slip(rng, wanted.title),
    "two_slips": lambda rng, wanted: slip(rng, slip(rng, wanted.title)) if _two(wanted) else slip(rng, wanted.title),
    "another_order": _another_order,
    "author_title": lambda _, wanted: f"{wanted.author} {wanted.title}",
}


def _two(wanted: Wanted) -> bool:
    """Whether a word of four letters is sure to be left after one slip."""
    return sum(len(word) >= LONG for word in wanted.title.split()) > 1 or any(
        len(word) > LONG for word in wanted.title.split()
    )


def _place(found: list[Wanted], wanted: Wanted, author_too: bool) -> int:
    """Where the book is, from 0; `N` where it is not."""
    return next((i for i, one in enumerate(found) if one.title == wanted.title
                 and (not author_too or one.author == wanted.author)), N)  # fmt: skip


def read_catalogue(path: Path, columns: str, separator: str, encoding: str) -> pa.Table:
    """Title, author, and where it is named series, of a CSV file, packed or not; broken lines are left out.

    Args:
        path: the file.
        columns: `title=Title,author=Author,series=Series`.
        separator: one character.
        encoding: of the file.

    Raises:
        ContractError: title or author is not named, or there is no such column.
    """
    named = dict(pair.partition("=")[::2] for pair in columns.split(","))
    table = pcsv.read_csv(
        path,
        pcsv.ReadOptions(encoding=encoding),
        pcsv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=lambda _: "skip"),
        pcsv.ConvertOptions(column_types=dict.fromkeys(named.values(), pa.string()), strings_can_be_null=True),
    )
    missing = {"title", "author"} - set(named) or set(named.values()) - set(table.column_names)
    if missing:
        there = ", ".join(table.column_names)
        raise ContractError("The catalogue lacks a column", received=", ".join(sorted(missing)), allowed=there)
    return pa.table({name: table[column].combine_chunks() for name, column in named.items()})


def of_catalogue(works: pa.Table) -> Callable[[], Search]:
    """Words alone: such a file has neither readers nor vectors."""
    return lambda: Search(works, np.zeros(works.num_rows, dtype=np.float32))


def of_bundle(folder: Path) -> tuple[pa.Table, Callable[[], Search]]:
    """All lists, as they serve."""
    bundle = Bundle.load(folder)
    return bundle.works, lambda: Search.of(bundle)


def _memory() -> float:
    pa.default_memory_pool().release_unused()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB
