"""What the service says of a work, taken from a loaded bundle once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from bookworks.isbn import to_isbn13
from bookworks.models.bundle import Bundle
from bookworks.models.search import Search
from serving.facets import AUTHORS, Facets

_NOT_WORD = re.compile(r"\W+")
_FIELDS = (
    "title", "author", "author_id", "series", "series_id", "series_number", "publisher", "year", "language", "subjects",
    "image_url",
)  # fmt: skip


class Catalogue:
    """Columns of the bundle's works as lists, index by index."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.work_ids = bundle.work_ids
        n = len(bundle)
        self.columns: dict[str, list[Any]] = {
            name: _listed(bundle.works[name]) if name in bundle.works.column_names else [None] * n for name in _FIELDS
        }
        self.titles, self.authors = self.columns["title"], self.columns["author"]
        self.author_keys = [a or b for a, b in zip(self.columns["author_id"], self.authors, strict=True)]
        self.series = self.columns["series"]
        self.twin_keys = [_twin_key(t, a) for t, a in zip(self.titles, self.authors, strict=True)]
        self.search = Search.of(bundle)
        self.indices_of_twin = _grouped(self.twin_keys)
        self._by_author = _grouped(self.author_keys)
        self.facets = Facets(bundle.works)
        self._series_keys = [a or b for a, b in zip(self.columns["series_id"], self.series, strict=True)]
        self._by_series = _grouped(self._series_keys)
        self._editions: dict[str, list[str]] = {}
        for edition_id, work_id in bundle.editions.items():
            self._editions.setdefault(work_id, []).append(edition_id)

    def index(self, *book_ids: str) -> int | None:
        """The index of the first that is known.

        Args:
            book_ids: work ids (also of works that were merged since), edition ids or ISBNs (10 or 13, with or
                without dashes).
        """
        for book_id in book_ids:
            if (index := self._known(book_id)) is not None:
                return index
            if (index := self._known(to_isbn13(book_id))) is not None:  # which takes longer to read
                return index
        return None

    def _known(self, book_id: str | None) -> int | None:
        index_of, editions = self._bundle.index_of, self._bundle.editions
        if book_id is None or book_id in index_of:
            return index_of.get(book_id or "")
        return index_of[editions[book_id]] if book_id in editions else None

    def is_work(self, book_id: str) -> bool:
        """Whether this is the id of a work, now or formerly, and not of an edition."""
        return book_id in self._bundle.index_of

    def book(self, index: int) -> dict[str, Any]:
        """All that is known of a work, by field name."""
        fields = {name: column[index] for name, column in self.columns.items()}
        fields["subjects"] = list(fields["subjects"] or [])
        fields["title"] = fields["title"] or ""
        return {
            "work_id": self.work_ids[index],
            **fields,
            "former_ids": self.former_ids(index),
            "editions": self.editions_of(index),
        }

    def of_author(self, author: str) -> list[int]:
        """Works of an author, who is named by id or by one of its names; of all authors of that name."""
        works = self.facets.works_of(AUTHORS, author)
        return [] if works is None else works.tolist()

    def editions_of(self, index: int) -> list[str]:
        """Edition ids and ISBN-13s of a work."""
        return sorted(self._editions.get(self.work_ids[index], []))

    def former_ids(self, index: int) -> list[str]:
        """Ids of works that were merged into this one."""
        return list(self._bundle.former_ids[index])

    def with_twins(self, works: Iterable[int]) -> set[int]:
        """These works, and all that are most likely the same book as one of them."""
        return with_twins(works, self.twin_keys, self.indices_of_twin)

    def same_author(self, index: int) -> list[int]:
        """Other works of the same author."""
        author = self.author_keys[index]
        return [] if author is None else [i for i in self._by_author[author] if i != index]

    def same_series(self, index: int) -> list[int]:
        """Other works of the same series."""
        series = self._series_keys[index]
        return [] if series is None else [i for i in self._by_series[series] if i != index]


def _listed(column: pa.ChunkedArray) -> list[Any]:
    """A column as a list, in which equal texts are one object."""
    if not pa.types.is_string(column.type):
        values: list[Any] = column.to_pylist()
        return values
    coded = column.combine_chunks().dictionary_encode()
    texts = coded.dictionary.to_pylist()
    return [None if code is None else texts[code] for code in coded.indices.to_pylist()]


def with_twins(
    banned: Iterable[int], twin_keys: Sequence[str | None], indices_of_twin: Mapping[str, list[int]]
) -> set[int]:
    """`banned` and every work with the same title and author as one of them."""
    wider = set(banned)
    for index in list(wider):
        key = twin_keys[index]
        if key is not None:
            wider.update(indices_of_twin[key])
    return wider


def _twin_key(title: str | None, author: str | None) -> str | None:
    """Same title and author: most likely the same book, though clustering kept them apart."""
    if not title or not author:
        return None
    return _NOT_WORD.sub(" ", f"{title}|{author}".lower()).strip()


def _grouped(keys: list[str | None]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            groups.setdefault(key, []).append(index)
    return groups
