"""Labels to indices for the towers; 0 means unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.dataset import Dataset

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """Inputs of both towers.

    Attributes:
        age_bins: labels in index order, from 1.
        countries: labels in index order, from 1.
        reader_age: [n_trained].
        reader_country: [n_trained].
        work_author: [n_works].
        work_series: [n_works].
        work_publisher: [n_works].
        work_year: [n_works].
        titles: float32 [n_works, title_dim].
    """

    age_bins: list[str]
    countries: list[str]
    reader_age: Indices
    reader_country: Indices
    work_author: Indices
    work_series: Indices
    work_publisher: Indices
    work_year: Indices
    titles: npt.NDArray[np.float32]

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each embedding table, unknown included."""
        tables = {
            "author": self.work_author,
            "series": self.work_series,
            "publisher": self.work_publisher,
            "year": self.work_year,
        }
        return {name: int(values.max(initial=0)) + 1 for name, values in tables.items()}


def make_features(data: Dataset, min_readers: int, min_works: int) -> Features:
    """Features of a dataset; a country of few readers, an author, series or publisher of few works count as unknown."""
    ages = data.labels("age_bin")[: data.n_trained]
    countries = data.labels("country")[: data.n_trained]
    age_bins, country_names = frequent(ages, 1), frequent(countries, min_readers)
    columns = (_column(data, name) for name in ("author_id", "series_id", "publisher", "year_bin"))
    authors, series, publishers, years = columns
    titles = np.zeros((data.n_works, 1)) if data.titles is None else data.titles
    return Features(
        age_bins=age_bins,
        countries=country_names,
        reader_age=indices(ages, age_bins),
        reader_country=indices(countries, country_names),
        work_author=indices(authors, frequent(authors, min_works)),
        work_series=indices(series, frequent(series, min_works)),
        work_publisher=indices(publishers, frequent(publishers, min_works)),
        work_year=indices(years, frequent(years, 1)),
        titles=titles.astype(np.float32),
    )


def frequent(labels: Sequence[str | None], at_least: int) -> list[str]:
    """Labels that occur `at_least` times, sorted."""
    counts = Counter(label for label in labels if label)
    return sorted(label for label, count in counts.items() if count >= at_least)


def indices(labels: Sequence[str | None], names: Sequence[str]) -> Indices:
    """Index of each label in `names` from 1, or 0."""
    index = {name: i for i, name in enumerate(names, 1)}
    return np.array([index.get(label or "", 0) for label in labels], dtype=np.int64)


def _column(data: Dataset, name: str) -> list[str | None]:
    if name not in data.works.column_names:
        return [None] * data.n_works
    return [None if value is None else str(value) for value in data.works[name].to_pylist()]
