"""Popularity lists: the whole readership, each age bin and each country with enough readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse


def popularity_lists(
    ratings: sparse.csr_matrix,
    *,
    age_bins: Sequence[str | None],
    countries: Sequence[str | None],
    weights: dict[str, float],
    min_readers: int,
    segment_length: int,
) -> dict[str, Any]:
    """The content of the bundle's `popularity.json`.

    Args:
        ratings: liking, [n_readers, n_works]; a work's popularity is the sum of its column.
        age_bins: age bin of each reader, None where unknown.
        countries: country of each reader, None where unknown.
        weights: share of `global`, `age_bin` and `country` when lists are mixed.
        min_readers: a segment with fewer active readers gets no list.
        segment_length: longest list of a segment; the global list is the whole catalogue.
    """
    everyone = ranked(np.asarray(ratings.sum(axis=0)).ravel())
    return {
        "global": everyone,
        "age_bin": segments(ratings, age_bins, min_readers, segment_length),
        "country": segments(ratings, countries, min_readers, segment_length),
        "weights": dict(weights),
    }


def segments(
    ratings: sparse.csr_matrix, labels: Sequence[str | None], min_readers: int, length: int
) -> dict[str, list[int]]:
    """label -> work indices with a positive total in that segment, most popular first."""
    active = np.diff(ratings.indptr) > 0
    names = np.array([label or "" for label in labels], dtype=object)
    lists: dict[str, list[int]] = {}
    for name in sorted(set(names) - {""}):
        rows = np.flatnonzero((names == name) & active)
        if rows.size >= min_readers:
            totals = np.asarray(ratings[rows].sum(axis=0)).ravel()
            lists[name] = [i for i in ranked(totals)[:length] if totals[i] > 0]
    return lists


def ranked(totals: npt.NDArray[np.float64]) -> list[int]:
    """Indices by falling total; ties go to the lower index."""
    order: list[int] = np.argsort(-totals, kind="stable").tolist()
    return order
