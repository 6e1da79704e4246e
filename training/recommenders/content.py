"""What behaviour lacks: works by the same author, in the same series, of the same house, with a title alike.

Scores are the history times an item-item matrix, so these models combine with the collaborative ones.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from training.dataset import Dataset
from training.linear_filter import keep_top
from training.params import Options, Params
from training.recommenders.base import Floats
from training.recommenders.item_item import EaseRecommender, ItemItemRecommender, ease_matrix


class SameFieldParams(Params):
    """Config of `same_author`, `same_series` and `same_publisher`."""

    group_power: float = Field(0.5, ge=0, description="How strongly authors (series, houses) of many works are damped.")
    history_power: float = Field(-0.2, description="How much more a popular work of the history says.")
    work_power: float = Field(0.5, description="How much popular works are preferred; below 0 they are damped.")
    max_group: int = Field(2000, ge=2, description="Groups with more works say nothing.")


class SameFieldRecommender(ItemItemRecommender):
    """Works that share a field with the history: sum over it of n_group^-a pop_history^b pop_work^c."""

    Config = SameFieldParams
    field = ""

    @classmethod
    def fit(cls, data: Dataset, config: SameFieldParams, options: Options) -> Self:
        """The matrix of works that share the field."""
        groups = membership(data, cls.field, config.max_group)
        size = np.asarray(groups.sum(axis=0)).ravel()
        popularity = expected_readers(data)
        left = sparse.diags_array(popularity**config.history_power) @ groups
        left = left @ sparse.diags_array(np.maximum(size, 1.0) ** -config.group_power)
        return cls(_without_diagonal(left @ groups.T @ sparse.diags_array(popularity**config.work_power)))


class SameAuthorRecommender(SameFieldRecommender):
    """Works by the authors of the history."""

    field = "author_id"


class SameSeriesRecommender(SameFieldRecommender):
    """Works in the series of the history."""

    field = "series_id"


class SamePublisherRecommender(SameFieldRecommender):
    """Works of the houses of the history."""

    field = "publisher"


class ContentEaseParams(Params):
    """Config of `content_ease`."""

    regularization: float = Field(100.0, gt=0)
    author_id: float = Field(4.0, ge=0, description="How many readers of all works of an author the author counts for.")
    series_id: float = Field(2.0, ge=0)
    publisher: float = Field(1.0, ge=0)
    max_group: int = Field(2000, ge=2, description="Authors, series and houses with more works say nothing.")


class ContentEaseRecommender(EaseRecommender):
    """EASE whose works are also read by their author, series and house, so that it knows new works.

    Source: Jeunen, Van Balen and Goethals, "Closed-Form Models for Collaborative Filtering with Side-Information",
    RecSys 2020: EASE on the ratings with the weighted fields as further rows.
    """

    Config = ContentEaseParams
    field = "author_id"  # what the catalogue has to tell at least

    @classmethod
    def fit(cls, data: Dataset, config: ContentEaseParams, options: Options) -> Self:
        """Solved as EASE is."""
        ratings = data.train()
        gram = ratings.T @ ratings
        for field in ("author_id", "series_id", "publisher"):
            groups = membership(data, field, config.max_group)
            gram = gram + np.float32(getattr(config, field)) * (groups @ groups.T)
        return cls(ease_matrix(sparse.csr_matrix(gram), config.regularization))


class NextInSeriesParams(Params):
    """Config of `next_in_series`."""

    reach: int = Field(2, ge=1, description="How many places on still count, each half as much as the one before.")


class NextInSeriesRecommender(ItemItemRecommender):
    """The works that follow in the series of the history."""

    Config = NextInSeriesParams

    @classmethod
    def fit(cls, data: Dataset, config: NextInSeriesParams, options: Options) -> Self:
        """2^(1 - distance) for works at most `reach` places on."""
        groups = membership(data, "series_id", data.n_works)
        numbers = column(data, "series_number")
        place = np.array([np.nan if n is None else float(n) for n in numbers])
        pairs = sparse.coo_matrix(groups @ groups.T)
        distance = place[pairs.col] - place[pairs.row]
        near = (distance > 0) & (distance <= config.reach)
        values = (2.0 ** (1.0 - distance[near])).astype(np.float32)
        shape = (data.n_works, data.n_works)
        return cls(sparse.csr_matrix((values, (pairs.row[near], pairs.col[near])), shape=shape))


class TitleTextParams(Params):
    """Config of `title_text`."""

    neighbours: int = Field(50, ge=1)
    power: float = Field(4.0, gt=0, description="Power of the cosine: above 1 the nearest count most.")


class TitleTextRecommender(ItemItemRecommender):
    """Works whose titles mean alike: the nearest by the cosine of their embeddings."""

    Config = TitleTextParams

    @classmethod
    def fit(cls, data: Dataset, config: TitleTextParams, options: Options) -> Self:
        """The nearest `neighbours` of each work; nothing where there are no embeddings."""
        if data.titles is None:
            return cls(sparse.csr_matrix((data.n_works, data.n_works), dtype=np.float32))
        titles = data.titles.astype(np.float32)
        parts = [
            _nearest(titles[start : start + 1024] @ titles.T, start, config) for start in range(0, data.n_works, 1024)
        ]
        return cls(sparse.csr_matrix(sparse.vstack(parts), dtype=np.float32))


def _nearest(cosines: Floats, start: int, config: TitleTextParams) -> sparse.csr_matrix:
    rows = np.arange(len(cosines))
    cosines[rows, rows + start] = 0.0
    k = min(config.neighbours, cosines.shape[1])
    cut = np.partition(cosines, -k, axis=1)[:, -k]
    cosines[(cosines < cut[:, None]) | (cosines <= 0)] = 0.0
    return keep_top(sparse.csr_matrix(cosines**config.power), k)


def membership(data: Dataset, field: str, max_group: int) -> sparse.csr_matrix:
    """Which work has which value of a field, float32 [n_works, n_values], without values of one work or too many."""
    names, values = np.unique([str(v or "") for v in column(data, field)], return_inverse=True)
    size = np.bincount(values, minlength=len(names))
    usable = (size >= 2) & (size <= max_group) & (names != "")
    kept = np.flatnonzero(usable[values])
    new = np.cumsum(usable) - 1
    shape = (data.n_works, max(int(usable.sum()), 1))
    return sparse.csr_matrix((np.ones(kept.size, np.float32), (kept, new[values[kept]])), shape=shape)


def column(data: Dataset, field: str) -> list[object]:
    """A column of the works, or nulls where the catalogue has none."""
    values: list[object] = data.works[field].to_pylist() if field in data.works.column_names else [None] * data.n_works
    return values


def expected_readers(data: Dataset) -> npt.NDArray[np.float64]:
    """Training readers of each work, at least 1; of a new work what its author leads to expect; [n_works].

    The mean is of logarithms, and drawn to the mean of all works by as much as two works weigh.
    """
    readers = readers_of(data)
    known = readers > 0
    log = np.log(readers, out=np.zeros_like(readers), where=known)
    everywhere = float(log[known].mean()) if known.any() else 0.0
    authors = membership(data, "author_id", data.n_works)
    total, count = authors.T @ log, authors.T @ known.astype(np.float64)
    of_author = authors @ ((total + 2 * everywhere) / (count + 2))
    nobody = np.diff(authors.indptr) == 0
    guess = np.exp(np.where(nobody, everywhere, of_author))
    return np.where(known, readers, np.maximum(guess, 1.0))


def readers_of(data: Dataset) -> npt.NDArray[np.float64]:
    """Training readers of each work, [n_works]."""
    return np.bincount(data.train().indices, minlength=data.n_works).astype(np.float64)


def _without_diagonal(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    result = sparse.csr_matrix(matrix, dtype=np.float32)
    result.setdiag(0)
    result.eliminate_zeros()
    return result
