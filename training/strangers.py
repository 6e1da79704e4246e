"""Strangers: readers who taught nobody, of whom a few clicks and the authors that they name are known.

What is clicked and whose authors are named are different works of a history, so that neither tells the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from bookworks.models.tastes import TasteIndex
from training.blend import NAMED, BlendGrid
from training.dataset import Dataset
from training.recommenders.base import Batch, Floats, Lists, Recommender, best_of, joined, without_history
from training.recommenders.blend import Asked
from training.recommenders.content import column

K = 20
CLICKS = (1, 3, 5)


def told_enough(known: Asked) -> Asked:
    """Those with a work for each click and for each named author; to every model they are readers without an id."""
    length = np.diff(known.batch.histories.indptr)
    some = known.some(np.flatnonzero(length >= max(CLICKS) + NAMED))
    return replace(some, batch=replace(some.batch, rows=np.full(len(some.batch), -1)))


def first_of(known: Asked, n: int, seed: int) -> sparse.csr_matrix:
    """`n` works of each history, drawn at random; the fewer are among the more."""
    return _drawn(known, 0, n, seed)


def named_of(known: Asked, seed: int) -> sparse.csr_matrix:
    """The works whose authors each reader names: those drawn after the most clicks."""
    return _drawn(known, max(CLICKS), max(CLICKS) + NAMED, seed)


def _drawn(known: Asked, start: int, stop: int, seed: int) -> sparse.csr_matrix:
    histories = known.batch.histories.tocoo()
    drawn = np.random.default_rng(seed).random(histories.nnz)
    owner = histories.coords[0]
    order = np.lexsort((drawn, owner))
    starts = np.searchsorted(owner[order], np.arange(histories.shape[0]))
    place = np.arange(order.size) - starts[owner[order]]
    chosen = order[(place >= start) & (place < stop)]
    where = (owner[chosen], histories.coords[1][chosen])
    return sparse.csr_matrix((histories.data[chosen], where), shape=histories.shape)


@dataclass(frozen=True)
class Signup:
    """Named authors and popularity, as the service ranks for a reader who has only signed up."""

    authors: Sequence[object]  # of each work
    index: TasteIndex
    popular: Recommender

    @classmethod
    def of(cls, data: Dataset, popular: Recommender) -> Signup:
        """From the catalogue of a dataset."""
        return cls(column(data, "author_id"), TasteIndex(data.works), popular)

    def scores(self, named: Batch) -> Floats:
        """Scores for readers who name the authors of these works."""
        scores = BlendGrid().tastes_popularity * self.popular.scores(named)
        spans = zip(named.histories.indptr[:-1], named.histories.indptr[1:], strict=True)
        for row, (start, end) in enumerate(spans):
            works = named.histories.indices[start:end]
            authors = {str(self.authors[work]) for work in works if self.authors[work]}
            scores[row] += self.index.scores(self.index.known(authors))
        return scores


@dataclass(frozen=True)
class Beside:
    """What a model says of clicks, and beside it, by a weight, what named authors say."""

    model: Recommender
    signup: Signup
    known: Asked
    seed: int

    def lists(self, clicks: int, weight: float) -> Lists:
        """The best works of each reader that are not in the whole history."""
        clicked = replace(self.known.batch, histories=first_of(self.known, clicks, self.seed))
        named = replace(self.known.batch, histories=named_of(self.known, self.seed))
        parts = zip(clicked.parts(), named.parts(), self.known.batch.parts(), strict=True)
        return joined([best_unread(self._scores(*pair, weight), whole) for *pair, whole in parts])

    def _scores(self, clicked: Batch, named: Batch, weight: float) -> Floats:
        """Each reader's best by the clicks alone counts 1."""
        own = self.model.scores(clicked)
        best = own.max(axis=1, keepdims=True)
        return own / np.where(best > 0, best, 1.0) + np.float32(weight) * self.signup.scores(named)


def best_unread(scores: Floats, whole: Batch) -> Lists:
    """The first works without the whole history."""
    return best_of(without_history(scores, whole.histories), K)
