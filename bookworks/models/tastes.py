"""Works that match the authors, subjects or series that a new reader named."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bookworks.models.rows_by_name import rows_by_name

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
FIELDS = ("author", "author_id", "series")


class TasteIndex:
    """name in lower case -> work indices."""

    def __init__(self, works: pa.Table) -> None:
        self.n_works = works.num_rows
        columns = [works[name] for name in (*FIELDS, "subjects") if name in works.column_names]
        self._works_of = rows_by_name(columns, lambda name: name.strip().lower())

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
