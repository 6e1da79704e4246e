"""The made-up world: authors, series, works, editions, readers. All of it follows from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bookworks.isbn import to_isbn13
from simulation import vocabulary, words

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

AGE_GENRES = {0: (0, 10, 3), 1: (3, 2, 5), 2: (1, 5, 7), 3: (4, 9, 8)}  # age bin -> genres it leans to


@dataclass(frozen=True)
class Works:
    """Works and their authors; row i is work i.

    Attributes:
        vectors: float32 [n_works, n_genres], rows of length 1: what the work is about.
        quality: float32 [n_works]: how good it is, standard normal.
        log_popularity: float32 [n_works]: log of its fame.
        author: [n_works] index into `author_names`.
        series: [n_works] series number, -1 for none; `volume` is its place in it, from 1.
        pattern: [n_works] index into `words.PATTERNS`.
        nouns, place: [n_works, 2] and [n_works], ranks in `vocabulary`.
        series_parts: [n_series, 2] ranks of a noun and a place.
    """

    vectors: Floats
    quality: Floats
    log_popularity: Floats
    author: Ints
    series: Ints
    volume: Ints
    language: Ints
    year: Ints
    pattern: Ints
    nouns: Ints
    place: Ints
    author_names: list[str]
    series_parts: Ints

    def __len__(self) -> int:
        """Number of works."""
        return len(self.author)

    def work_id(self, i: int) -> str:
        """The true id of work i."""
        return f"sim-w{i:06d}"

    def title(self, i: int, language: int | None = None) -> str:
        """Title of work i, in its own language or another."""
        code = words.LANGUAGES[int(self.language[i]) if language is None else language]
        column = words.LANGUAGES.index(code)
        first, second = (vocabulary.noun(int(noun))[column] for noun in self.nouns[i])
        text = words.PATTERNS[code][int(self.pattern[i])].format(first, second, vocabulary.place(int(self.place[i])))
        return text[0].upper() + text[1:]

    def series_name(self, i: int) -> str | None:
        """Name of the series of work i."""
        number = int(self.series[i])
        if number < 0:
            return None
        noun, place = self.series_parts[number].tolist()
        return f"{vocabulary.noun(noun)[0]} {vocabulary.place(place)} Cycle"


@dataclass(frozen=True)
class Editions:
    """Editions; row i is edition i, grouped by work.

    Attributes:
        work: [n] index of the work; `first[w]` to `first[w + 1]` are the editions of work w.
        variants: for each edition what makes it differ, e.g. ("subtitle", "mojibake").
    """

    work: Ints
    first: Ints
    language: Ints
    edition_ids: list[str]
    isbns: list[str | None]
    variants: list[tuple[str, ...]]


@dataclass(frozen=True)
class Readers:
    """Readers; tastes move in a straight line from `taste_start` to `taste_end` over the whole period.

    Attributes:
        taste_start, taste_end: float32 [n_readers, n_genres], rows of length 1.
        activity: float32 [n_readers], shares that sum to 1.
    """

    taste_start: Floats
    taste_end: Floats
    activity: Floats
    bias: Floats
    age: Ints
    country: Ints
    age_known: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of readers."""
        return len(self.activity)

    def user_id(self, i: int) -> str:
        """Id of reader i."""
        return f"sim:{i:06d}"


def unit(rows: NDArray[np.floating]) -> Floats:
    """Rows scaled to length 1."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)


def make_works(n: int, rng: np.random.Generator, n_authors: int | None = None) -> Works:
    """`n` works, a third of them in series.

    Args:
        n: how many.
        rng: of the draws.
        n_authors: among how many authors they are drawn; by default n / 5, so few that readers can be loyal to them.
    """
    genres = len(words.GENRES)
    author = vocabulary.WORKS_OF_AUTHORS.draw(rng, n, n_authors or max(1, n // 5))
    names, author = np.unique(author, return_inverse=True)
    author = rng.permutation(len(names))[author]
    centre = unit(rng.dirichlet(np.full(genres, 0.18), len(names)))
    vectors = unit(centre[author] + rng.normal(0, 0.16, (n, genres)))
    fame = rng.normal(0, 0.7, len(names))
    series, volume = _series(author, rng)
    n_series = int(series.max(initial=-1)) + 1
    return Works(
        vectors=vectors,
        quality=rng.normal(0, 1, n).astype(np.float32),
        log_popularity=(fame[author] + rng.normal(0, 0.8, n)).astype(np.float32),
        author=author,
        series=series,
        volume=volume,
        language=rng.choice(4, n, p=[0.72, 0.1, 0.1, 0.08]),
        year=(2024 - rng.exponential(14, n)).astype(np.int64).clip(1900, 2024),
        author_names=_names(len(names), rng),
        series_parts=np.column_stack([law.draw(rng, n_series) for law in (vocabulary.CONCEPTS, vocabulary.PLACES)]),
        **_title_parts(n, author, rng),
    )


def _series(author: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Give runs of two to six works of one author to series."""
    n = len(author)
    series, volume = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    order = np.argsort(author, kind="stable")
    number, at = 0, 0
    while at < n:
        length = int(rng.integers(2, 7))
        run = order[at : at + length]
        run = run[author[run] == author[run[0]]]
        at += len(run)
        if len(run) >= 2 and rng.random() < 0.4:
            series[run], volume[run] = number, np.arange(1, len(run) + 1)
            number += 1
    return series, volume


_TRIES = 100  # to find a title that the author has not written yet
_MIDDLE_INITIAL = 0.2


def _title_parts(n: int, author: Ints, rng: np.random.Generator) -> dict[str, Ints]:
    """Pattern, nouns and place of each title; no author writes two works of the same title while there are others."""
    pattern = rng.integers(0, len(words.PATTERNS["en"]), n)
    nouns = vocabulary.CONCEPTS.draw(rng, (n, 2))
    place = vocabulary.PLACES.draw(rng, n)
    seen: set[tuple[int, ...]] = set()
    for i in range(n):
        for _ in range(_TRIES):
            key = (int(author[i]), int(pattern[i]), int(nouns[i, 0]))
            if key not in seen and nouns[i, 0] != nouns[i, 1]:
                break
            pattern[i] = rng.integers(0, len(words.PATTERNS["en"]))
            nouns[i] = vocabulary.CONCEPTS.draw(rng, 2)
        seen.add(key)
    return {"pattern": pattern, "nouns": nouns, "place": place}


def _names(n: int, rng: np.random.Generator) -> list[str]:
    """A name for each author; where one is taken, with an initial more in the middle."""
    firsts, lasts = (law.draw(rng, n).tolist() for law in (vocabulary.FIRST_NAMES, vocabulary.SURNAMES))
    has_initial = (rng.random(n) < _MIDDLE_INITIAL).tolist()
    names: dict[str, None] = {}
    for first, last, initial in zip(firsts, lasts, has_initial, strict=True):
        middle = _initial(rng) if initial else ""
        while (name := f"{vocabulary.first_name(first)} {middle}{vocabulary.surname(last)}") in names:
            middle += _initial(rng)
        names[name] = None
    return list(names)


def _initial(rng: np.random.Generator) -> str:
    return f"{chr(ord('A') + int(rng.integers(0, 26)))}. "


VARIANTS = ("subtitle", "series", "typo", "translation", "mojibake", "no_author", "author_reversed", "html", "upper")
_VARIANT_RATES = (0.25, 0.0, 0.06, 0.10, 0.08, 0.04, 0.10, 0.05, 0.04)


def make_editions(works: Works, rng: np.random.Generator) -> Editions:
    """One to six editions of each work; the first is as the work is, the others vary in known ways."""
    counts = 1 + np.minimum(rng.poisson(0.5 + 0.5 * np.exp(works.log_popularity).clip(0, 4)), 5)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    work = np.repeat(np.arange(len(works)), counts)
    draws = rng.random((len(work), len(VARIANTS)))
    language = works.language[work].copy()
    other = (language + rng.integers(1, 4, len(work))) % 4
    variants: list[tuple[str, ...]] = []
    for i, w in enumerate(work):
        names = (
            [] if i == first[w] else [v for v, d, p in zip(VARIANTS, draws[i], _VARIANT_RATES, strict=True) if d < p]
        )
        if i == first[w] and draws[i, 4] < 0.02:
            names.append("mojibake")
        if works.series[w] >= 0 and draws[i, 1] < 0.6:
            names.append("series")
        if "translation" in names:
            language[i] = other[i]
        variants.append(tuple(sorted(names)))
    edition_ids, isbns = _isbns(len(work), rng)
    return Editions(work, first, language, edition_ids, isbns, variants)


def _isbns(n: int, rng: np.random.Generator) -> tuple[list[str], list[str | None]]:
    """Unique valid ISBNs; one in thirty editions has none and goes by the source's own key."""
    bodies = rng.permutation(np.unique(rng.integers(0, 10**9, n + n // 10 + 100)))[:n]
    form = rng.random(n)
    ids: list[str] = []
    isbns: list[str | None] = []
    for i, body in enumerate(bodies):
        isbn10 = _with_check(f"{int(body):09d}")
        isbn13 = to_isbn13(isbn10)
        if form[i] < 1 / 30 or isbn13 is None:
            ids.append(f"sim:e{i:07d}")
            isbns.append(None)
            continue
        ids.append(isbn13)
        hyphens = f"{isbn13[:3]}-{isbn13[3]}-{isbn13[4:8]}-{isbn13[8:12]}-{isbn13[12]}"
        isbns.append(isbn10 if form[i] < 0.5 else hyphens if form[i] < 0.6 else isbn13)
    return ids, isbns


def _with_check(nine: str) -> str:
    """ISBN-10 of nine digits (ISO 2108)."""
    value = -sum((10 - i) * int(d) for i, d in enumerate(nine)) % 11
    return nine + ("X" if value == 10 else str(value))


def make_readers(n: int, rng: np.random.Generator) -> Readers:
    """`n` readers; age and country lean their tastes, a fifth of them change a lot over the period."""
    genres = len(words.GENRES)
    age = np.where(rng.random(n) < 0.3, rng.normal(22, 4, n), rng.normal(44, 13, n)).astype(np.int64).clip(10, 90)
    shares = np.array([c[2] for c in words.COUNTRIES])
    country = rng.choice(len(words.COUNTRIES), n, p=shares / shares.sum())
    base = rng.dirichlet(np.full(genres, 0.22), n)
    lean = np.zeros((n, genres))
    for age_bin, favourites in AGE_GENRES.items():
        lean[np.ix_(age_bins(age) == age_bin, favourites)] += 0.12
    lean[np.arange(n), country % genres] += 0.05
    start = unit(base + lean)
    drift = np.where(rng.random(n) < 0.2, 0.8, 0.15)[:, None]
    end = unit((1 - drift) * start + drift * unit(rng.dirichlet(np.full(genres, 0.22), n) + lean))
    activity = rng.lognormal(0, 0.9, n)
    return Readers(
        taste_start=start,
        taste_end=end,
        activity=(activity / activity.sum()).astype(np.float32),
        bias=rng.normal(0, 0.7, n).astype(np.float32),
        age=age,
        country=country,
        age_known=rng.random(n) < 0.8,
    )


def age_bins(age: Ints) -> Ints:
    """0: under 20, 1: 20 to 34, 2: 35 to 54, 3: 55 and older."""
    return np.digitize(age, [20, 35, 55])
