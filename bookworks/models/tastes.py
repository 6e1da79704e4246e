"""Works that match the authors, subjects or series that a new reader named."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float32]
FIELDS = ("author", "author_id", "series")


class TasteIndex:
    """name in lower case -> work indices."""

    def __init__(self, works: pa.Table) -> None:
        self.n_works = works.num_rows
        self._works_of: dict[str, list[int]] = {}
        for name in FIELDS:
            if name in works.column_names:
                self._add((value, row) for row, value in enumerate(works[name].to_pylist()))
        if "subjects" in works.column_names:
            rows = works["subjects"].to_pylist()
            self._add((value, row) for row, values in enumerate(rows) for value in values or ())

    def _add(self, pairs: Iterable[tuple[str | None, int]]) -> None:
        for value, row in pairs:
            if value:
                self._works_of.setdefault(value.strip().lower(), []).append(row)

    def known(self, tastes: Iterable[str]) -> list[str]:
        """Those tastes that match at least one work, lower case."""
        return [key for key in (taste.strip().lower() for taste in tastes) if key in self._works_of]

    def scores(self, known: Iterable[str]) -> Floats:
        """Share of the reader's tastes that each work meets, 0 to 1, float32 [n_works].

        A rare taste (an author) says more than a common one (a subject): each is weighed by 1/log(2 + works).
        """
        scores = np.zeros(self.n_works, dtype=np.float32)
        total = 0.0
        for key in known:
            rows = self._works_of[key]
            weight = 1.0 / float(np.log(2.0 + len(rows)))
            scores[rows] += np.float32(weight)
            total += weight
        scores /= np.float32(total or 1.0)
        return scores
