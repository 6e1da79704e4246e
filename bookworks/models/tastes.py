"""Works that match the authors, subjects or series that a new reader named."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
FIELDS = ("author", "author_id", "series")


class TasteIndex:
    """name in lower case -> work indices."""

    def __init__(self, works: pa.Table) -> None:
        self.n_works = works.num_rows
        found: dict[str, list[int]] = {}
        for name in FIELDS:
            if name in works.column_names:
                _add(found, ((value, row) for row, value in enumerate(works[name].to_pylist())))
        if "subjects" in works.column_names:
            rows = works["subjects"].to_pylist()
            _add(found, ((value, row) for row, values in enumerate(rows) for value in values or ()))
        self._works_of = {name: np.unique(np.array(rows, dtype=np.int64)) for name, rows in found.items()}

    def known(self, tastes: Iterable[str]) -> list[str]:
        """Those tastes that match at least one work, lower case, each once, in the order they were named."""
        return [key for key in dict.fromkeys(taste.strip().lower() for taste in tastes) if key in self._works_of]

    def works(self, known: Collection[str]) -> list[Ints]:
        """The works that meet each of these tastes, rising indices."""
        return [self._works_of[key] for key in known]

    def scores(self, known: Iterable[str], works: Ints | None = None) -> Floats:
        """Share of the reader's tastes that each work meets, 0 to 1, float32.

        A rare taste (an author) says more than a common one (a subject): each is weighed by 1/log(2 + works).

        Args:
            known: of `known`.
            works: rising indices, among them all that meet a taste; None for the whole catalogue.
        """
        scores = np.zeros(self.n_works if works is None else works.size, dtype=np.float32)
        total = 0.0
        for key in known:
            rows = self._works_of[key]
            weight = 1.0 / float(np.log(2.0 + len(rows)))
            scores[rows if works is None else np.searchsorted(works, rows)] += np.float32(weight)
            total += weight
        scores /= np.float32(total or 1.0)
        return scores


def _add(found: dict[str, list[int]], pairs: Iterable[tuple[str | None, int]]) -> None:
    for value, row in pairs:
        if value:
            found.setdefault(value.strip().lower(), []).append(row)
