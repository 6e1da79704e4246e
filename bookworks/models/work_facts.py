"""What is known of the works, whoever reads them: what the ranker's features are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
GROUPS = ("author_id", "series_id", "publisher", "language")
_GROUP = "group_"


@dataclass(frozen=True)
class WorkFacts:
    """Columns over the catalogue.

    Attributes:
        readers: training readers, float32 [n_works].
        year: NaN where unknown, float32 [n_works].
        place: number in the series, NaN where none, float32 [n_works].
        group: of each field of `GROUPS` the value's number, int64 [n_works]; 0 stands for none.
        expected: log of the readers that the work has, or may get where it is new, float32 [n_works].
    """

    readers: Floats
    year: Floats
    place: Floats
    group: Mapping[str, Ints]
    expected: Floats

    @classmethod
    def nothing(cls, n_works: int) -> Self:
        """Works of which nothing is known."""
        unknown = np.full(n_works, np.nan, dtype=np.float32)
        zeros = np.zeros(n_works, dtype=np.float32)
        return cls(zeros, unknown, unknown, {name: np.zeros(n_works, dtype=np.int64) for name in GROUPS}, zeros)

    def fits(self, n_works: int) -> bool:
        """Whether every column tells of so many works."""
        columns: list[npt.NDArray[Any]] = [self.readers, self.year, self.place, self.expected, *self.group.values()]
        groups = set(self.group) == set(GROUPS) and all((values >= 0).all() for values in self.group.values())
        return groups and all(column.shape == (n_works,) for column in columns)

    def __len__(self) -> int:
        """Works."""
        return len(self.readers)

    @cached_property
    def fields(self) -> list[str]:
        """Fields of `GROUPS` in which works differ."""
        return [name for name in GROUPS if len(np.unique(self.group[name])) > 1]

    @cached_property
    def dated(self) -> bool:
        """Whether any year is known."""
        return bool(np.isfinite(self.year).any())

    @cached_property
    def log_readers(self) -> Floats:
        """log(1 + readers), float32 [n_works]."""
        return np.log1p(self.readers)

    @cached_property
    def group_size(self) -> dict[str, Floats]:
        """Of each field how many works have each value; of none 0."""
        sizes = {name: np.bincount(values).astype(np.float32) for name, values in self.group.items()}
        for size in sizes.values():
            size[:1] = 0.0
        return sizes

    def save(self, path: Path) -> None:
        """Write a file for `load`."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in ("readers", "year", "place", "expected")}
        np.savez(path, **columns | {_GROUP + name: values for name, values in self.group.items()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            group = {name.removeprefix(_GROUP): stored[name] for name in stored.files if name.startswith(_GROUP)}
            return cls(stored["readers"], stored["year"], stored["place"], group, stored["expected"])
