"""Search in a bundle's works: words as they are typed, and what is near to the best of these; see docs/adr/0013.

The service has no text encoder, so a query has no vector of its own. The dense lists are found by pseudo-relevance: the
best works by words stand for the query (Rocchio's feedback with the first results taken as relevant).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rapidfuzz import fuzz

from bookworks.isbn import meant_isbns, read_isbn
from bookworks.models.bundle import Bundle
from bookworks.models.fusion import fused
from bookworks.models.item_item import ItemItem
from bookworks.models.ordering import top
from bookworks.models.reader import ReaderState
from bookworks.models.text_index import Field, TextIndex, folded, with_initials, words_of

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Nearest = Callable[[Floats, int], Sequence[int] | None]

WORDS, VECTORS, TITLES = "words", "vectors", "title_text"
WEIGHTS = {VECTORS: 0.5, TITLES: 0.5}  # a work that is only near stands behind the first sixty that have the words
HITS, NEAR = 200, 50  # lengths of the lists
SEEDS, SEED_SHARE = 5, 0.7  # works that stand for the query: the best, of at least so much of the best score
_STEEP = 4  # power of the seeds' scores: the best one counts most
_POPULAR = 0.05  # what popularity adds to a score, at most
_READER = 0.3  # what the reader's own scores add, at most, to the best score by words
_DIGIT = r"[0-9][\s‐‑‒–—-]*"
_ISBN = re.compile(rf"(?:isbn(?:-?1[03])?[\s:]*)?((?:{_DIGIT}){{9}}(?:(?:{_DIGIT}){{3}}[0-9]|[0-9Xx]))", re.I)


@dataclass(frozen=True)
class Hit:
    """A work that was found, and what each list added to its score."""

    index: int
    sources: dict[str, float]

    @property
    def score(self) -> float:
        """Sum of the sources."""
        return sum(self.sources.values())


@dataclass(frozen=True)
class TypedIsbn:
    """A query that is an ISBN.

    Attributes:
        digits: without dashes.
        isbn13: empty where the check digit is wrong.
        meant: ISBN-13s one slip away; only where the check digit is wrong.
    """

    digits: str
    isbn13: str | None
    meant: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether the check digit is right."""
        return self.isbn13 is not None


def typed_isbn(query: str) -> TypedIsbn | None:
    """What a query says where it is an ISBN of ten or thirteen digits, with or without dashes; else None."""
    found = _ISBN.fullmatch(query.strip())
    digits = re.sub(r"[^0-9Xx]", "", found[1]) if found else ""
    if len(digits) not in {10, 13}:
        return None
    isbn13, _ = read_isbn(digits)
    return TypedIsbn(digits, isbn13, [] if isbn13 else meant_isbns(digits))


class Search:
    """Works, ready to be searched; immutable, safe to share between threads."""

    def __init__(
        self, works: pa.Table, popularity: Floats, vectors: Floats | None = None, alike: ItemItem | None = None
    ) -> None:
        """Fold the texts and make the index.

        Args:
            works: with a title, and what there is of author and series.
            popularity: 0 to 1, float32 [n_works].
            vectors: float32 [n_works, dim]; None: only words are searched.
            alike: which titles mean alike.
        """
        titles, authors, series = (folded(_column(works, name)) for name in ("title", "author", "series"))
        self._titles, self._authors, self._vectors, self._alike = titles, authors, vectors, alike
        self.index = TextIndex(
            {
                "title": Field(titles, 1.0),
                "author": Field(with_initials(authors), 0.8),
                "series": Field(series, 0.4),
            }
        )
        self._popular = 1.0 + np.float32(_POPULAR) * popularity

    @classmethod
    def of(cls, bundle: Bundle) -> Search:
        """The works of a bundle, with its vectors and what its titles mean."""
        popularity = bundle.popularity_scores(ReaderState())
        return cls(bundle.works, popularity, bundle.item_vectors, bundle.item_item.get(TITLES))

    def find(
        self,
        query: str,
        n: int,
        allowed: Mask | None = None,
        nearest: Nearest | None = None,
        reader: Floats | None = None,
    ) -> list[Hit]:
        """The best `n` works, fewer where no more are found; none for a query without a letter or digit.

        Args:
            query: as it was typed.
            n: at least 1.
            allowed: which works may be found, bool [n_works]; None for all.
            nearest: a vector index: (vector, limit) -> indices, None when it is away; without one the bundle's own
                vectors are searched.
            reader: scores of every work for a reader, float32 [n_works]: what the reader likes comes sooner.
        """
        words = words_of(query)
        scores = self.index.scores(words) * self._popular
        if allowed is not None:
            scores[~allowed] = 0.0
        hits = [i for i in top(scores, max(HITS, n)).tolist() if scores[i] > 0]
        if not hits:
            return []
        by_words = self._by_likeness(words, hits, scores)
        lists = {WORDS: _for_reader(by_words, reader), **self._near(by_words, allowed, nearest)}
        return [Hit(index, sources) for index, sources in fused(lists, weights=WEIGHTS)[:n]]

    def _by_likeness(self, words: list[str], hits: list[int], scores: Floats) -> dict[int, float]:
        """Hits with their scores, the best first; a title, or title and author, that is what was typed counts most."""
        typed = " ".join(words)
        titles, authors = (column.take(pa.array(hits)).to_pylist() for column in (self._titles, self._authors))
        likeness = [
            max(fuzz.ratio(typed, title), fuzz.token_sort_ratio(typed, f"{title} {author}")) / 100
            for title, author in zip(titles, authors, strict=True)
        ]
        best = {i: float(scores[i]) * (0.5 + 0.5 * like) for i, like in zip(hits, likeness, strict=True)}
        return dict(sorted(best.items(), key=lambda pair: -pair[1]))

    def _near(
        self, by_words: dict[int, float], allowed: Mask | None, nearest: Nearest | None
    ) -> dict[str, Sequence[int]]:
        """What is near to the best by words: in vectors, and in what titles mean where the bundle has that."""
        first = max(by_words.values())
        seeds = {i: score / first for i, score in list(by_words.items())[:SEEDS] if score >= SEED_SHARE * first}
        lists: dict[str, Sequence[int]] = {}
        if self._vectors is not None:
            lists[VECTORS] = self._near_in(self._vectors, seeds, allowed, nearest)
        if self._alike is not None:
            alike = _only(self._alike.scores(list(seeds), list(seeds.values())), allowed)
            lists[TITLES] = [i for i in top(alike, NEAR).tolist() if alike[i] > 0]
        return lists

    def _near_in(
        self, vectors: Floats, seeds: dict[int, float], allowed: Mask | None, nearest: Nearest | None
    ) -> list[int]:
        vector = np.array(list(seeds.values()), dtype=np.float32) ** _STEEP @ vectors[list(seeds)]
        found = nearest(vector / max(float(np.linalg.norm(vector)), 1e-9), NEAR) if nearest else None
        if found is None:
            found = top(_only(vectors @ vector, allowed), NEAR).tolist()
        return [int(i) for i in found if allowed is None or allowed[i]]


def _for_reader(by_words: dict[int, float], reader: Floats | None) -> list[int]:
    """Hits in the order of their scores; with what the reader likes raised by a share of the best score."""
    if reader is None:
        return list(by_words)
    most, liked = max(by_words.values()), {i: float(reader[i]) for i in by_words}
    low, high = min(liked.values()), max(liked.values())
    span = (high - low) or 1.0
    return sorted(by_words, key=lambda i: -(by_words[i] / most + _READER * (liked[i] - low) / span))


def _only(scores: Floats, allowed: Mask | None) -> Floats:
    return scores if allowed is None else np.where(allowed, scores, np.float32(-np.inf))


def _column(works: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """A column of texts, nulls where there is none."""
    return works[name] if name in works.column_names else pa.nulls(works.num_rows, pa.string())
