"""By what a slate can be narrowed: which works have a language, an author, a subject; made once of each bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bookworks.models.rows_by_name import rows_by_name

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LANGUAGES, AUTHORS, SUBJECTS = "languages", "authors", "subjects"
_MASKS_KEPT = 64  # a byte for each work
_COLUMNS = {
    LANGUAGES: ("language",),
    AUTHORS: ("author_id", "author", "author_aliases"),
    SUBJECTS: ("subjects",),
}


def folded(name: str) -> str:
    """A name as it is compared: upper and lower case alike, blanks as one."""
    return " ".join(name.casefold().split())


@dataclass(frozen=True)
class Filters:
    """What a slate is narrowed to; a work must meet every field that is given, and of each list one value.

    Attributes:
        languages: as the catalogue names them.
        authors: ids, names or other names of authors.
        subjects: as the catalogue names them.
        year_from: no earlier; a work without a year is then left out, as with `year_to`.
        year_to: no later.
    """

    languages: Sequence[str] = ()
    authors: Sequence[str] = ()
    subjects: Sequence[str] = ()
    year_from: int | None = None
    year_to: int | None = None


class Facets:
    """Indices of works by value of each field.

    Attributes:
        years: NaN where unknown, float32 [n_works].
    """

    def __init__(self, works: pa.Table) -> None:
        self._n = works.num_rows
        self._works_of = {
            field: rows_by_name([works[name] for name in names if name in works.column_names], folded)
            for field, names in _COLUMNS.items()
        }
        self.years = _years(works)
        self._has = lru_cache(_MASKS_KEPT)(self._made)

    def works_of(self, field: str, name: str) -> Ints | None:
        """Indices of the works with this value, rising; None when no work has it."""
        return self._works_of[field].get(folded(name))

    def unknown(self, filters: Filters) -> list[tuple[str, int, str]]:
        """Values that no work has: field, place in its list, value."""
        return [
            (field, place, name)
            for field in _COLUMNS
            for place, name in enumerate(getattr(filters, field))
            if self.works_of(field, name) is None
        ]

    def mask(self, filters: Filters) -> Bools | None:
        """Which works the filters let through, bool [n_works]; None: all."""
        masks = [self._any_of(field, getattr(filters, field)) for field in _COLUMNS if getattr(filters, field)]
        with np.errstate(invalid="ignore"):  # NaN, a year that is not known, is neither
            if filters.year_from is not None:
                masks.append(self.years >= filters.year_from)
            if filters.year_to is not None:
                masks.append(self.years <= filters.year_to)
        return np.logical_and.reduce(masks) if masks else None

    def broken(self, filters: Filters, index: int) -> list[str]:
        """Fields of the filters that keep this work out."""
        fields = ("languages", "authors", "subjects", "year_from", "year_to")
        single = {name: Filters(**{name: getattr(filters, name)}) for name in fields}
        masks = {name: self.mask(one) for name, one in single.items()}
        return [name for name, mask in masks.items() if mask is not None and not mask[index]]

    def _any_of(self, field: str, names: Sequence[str]) -> Bools:
        return np.logical_or.reduce([self._has(field, name) for name in names])

    def _made(self, field: str, name: str) -> Bools:
        mask = np.zeros(self._n, dtype=np.bool_)
        found = self.works_of(field, name)
        mask[found if found is not None else []] = True
        return mask


def _years(works: pa.Table) -> npt.NDArray[np.float32]:
    if "year" not in works.column_names:
        return np.full(works.num_rows, np.nan, dtype=np.float32)
    years = works["year"].cast(pa.float32()).to_numpy()
    return np.asarray(years, dtype=np.float32)
