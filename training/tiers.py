"""Cold start, each tier measured by itself: readers of whom little is known, and works that nobody has read.

A tenth of the readers and a tenth of the works are taken out of the training rows before anything is fitted; half of
these works keep no more than their title. Of a reader without id more and more is told: nothing, named authors, some
clicks, all that was read. All are asked for the same held-out works, and nobody is shown a work of the whole history,
so the rows can be compared. `measure_new_works` takes out works alone, and leaves what is told of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from bookworks.metrics.ranking import Values, find_hits, ndcg_at, recall_at
from bookworks.models.tastes import TasteIndex
from training.blend import BlendGrid
from training.dataset import TEST, TRAIN, Dataset
from training.measuring import interval
from training.recommenders.all import Fitter
from training.recommenders.base import (
    Batch,
    Floats,
    Lists,
    Recommender,
    best_of,
    best_of_parts,
    joined,
    without_history,
)
from training.recommenders.blend import Asked, asked
from training.recommenders.content import column
from training.recommenders.floors import PopularityRecommender

K = 20
SHARE = 0.1
CLICKS = (1, 3, 5)
NAMED = 3  # authors a reader names at signup
KNOWN = "known"  # the part of rows that tell of a stranger, and teach nobody
TOLD = ("author", "author_id", "series", "series_id", "series_number", "publisher", "year", "year_bin")


class Row(NamedTuple):
    """One tier of one model."""

    model: str
    tier: str
    readers: int
    recall: Values
    ndcg: Values

    def to_json(self) -> dict[str, Any]:
        """Means with their 95 % intervals over readers."""
        numbers = {"recall_at_20": interval(self.recall), "ndcg_at_20": interval(self.ndcg)}
        return {"model": self.model, "tier": self.tier, "readers": self.readers} | numbers


@dataclass(frozen=True)
class Cold:
    """A split with strangers and new works.

    Attributes:
        data: rows of new works are gone, rows of strangers are the part `known`.
        new: works without training rows that had some, bool [n_works].
        untold: those of them that have no more than a title, bool [n_works].
    """

    data: Dataset
    new: npt.NDArray[np.bool_]
    untold: npt.NDArray[np.bool_]


def made_cold(data: Dataset, seed: int, strangers: float = SHARE, less_told: bool = True) -> Cold:
    """A tenth of the works with readers taken out, and readers, at random.

    Args:
        data: the split.
        seed: of what is drawn.
        strangers: share of the trained readers that are taken out.
        less_told: every second of the works taken out keeps no more than its title.
    """
    rng = np.random.default_rng(seed)
    rows = data.rows(TRAIN, TEST)
    part = rows["part"].to_numpy(zero_copy_only=False).astype(str)
    reader, work = rows["reader"].to_numpy(), rows["work"].to_numpy()
    read = np.unique(work[part == TRAIN])
    drawn = rng.choice(read, int(read.size * SHARE), replace=False)
    new, less = np.zeros(data.n_works, dtype=bool), np.zeros(data.n_works, dtype=bool)
    new[drawn], less[drawn[::2]] = True, less_told
    stranger = np.zeros(data.n_readers, dtype=bool)
    stranger[rng.choice(data.n_trained, int(data.n_trained * strangers), replace=False)] = True
    kept = ~((part == TRAIN) & new[work])
    part = np.where((part == TRAIN) & stranger[reader], KNOWN, part)[kept]
    taught = np.zeros(data.n_readers, dtype=bool)
    taught[reader[kept][part == TRAIN]] = True
    order = np.argsort(~taught, kind="stable")
    place = np.argsort(order)
    table = rows.filter(pa.array(kept))
    columns = {"reader": pa.array(place[reader[kept]]), "part": pa.array(part)}
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return Cold(
        replace(data, works=_less_told(data.works, less), readers=data.readers.take(pa.array(order)),
                interactions=table, n_trained=int(taught.sum())),
        new, less,
    )  # fmt: skip


def _less_told(works: pa.Table, untold: npt.NDArray[np.bool_]) -> pa.Table:
    for name in set(TOLD) & set(works.column_names):
        values = [None if gone else value for value, gone in zip(works[name].to_pylist(), untold, strict=True)]
        works = works.set_column(works.column_names.index(name), name, pa.array(values, works.schema.field(name).type))
    return works


def measure_tiers(names: Sequence[str], data: Dataset, fitter: Fitter) -> Iterator[Row]:
    """Every tier of every model; models are fitted anew, to the colder split."""
    cold = made_cold(data, fitter.options.seed)
    for name in names:
        model = fitter.fit(name, cold.data)
        yield from _readers(name, model, cold, fitter.options.seed)
        yield from _works(name, model, cold, fitter.options.threads)
    yield from _tastes(cold, fitter)
    fitter.forget(cold.data)


def measure_new_works(names: Sequence[str], data: Dataset, fitter: Fitter) -> Iterator[Row]:
    """What every model finds of a tenth of the works that nobody has read, and what showing them costs the others."""
    cold = made_cold(data, fitter.options.seed, strangers=0.0, less_told=False)
    for name in names:
        yield from _works(name, fitter.fit(name, cold.data), cold, fitter.options.threads)
    fitter.forget(cold.data)


def strangers(cold: Cold) -> Asked:
    """Readers who taught nobody, with held-out works and enough history for every tier."""
    known = asked(cold.data, TEST, (KNOWN,))
    length = np.diff(known.batch.histories.indptr)
    return known.some(np.flatnonzero((known.batch.rows < 0) & (length >= max(CLICKS))))


def _readers(name: str, model: Recommender, cold: Cold, seed: int) -> Iterator[Row]:
    known = strangers(cold)
    if not len(known.batch):
        return
    for label, clicks in (("nothing known", 0), *((f"{n} click{'s' * (n > 1)}", n) for n in CLICKS), ("session", None)):
        batch = known.batch if clicks is None else replace(known.batch, histories=first_of(known, clicks, seed))
        lists = [
            _best(model.scores(part), whole) for part, whole in zip(batch.parts(), known.batch.parts(), strict=True)
        ]
        yield _row(name, f"new reader, {label}", joined(lists), known)


def _tastes(cold: Cold, fitter: Fitter) -> Iterator[Row]:
    """Named authors and popularity, as the service ranks for a reader who has only signed up."""
    known, authors = strangers(cold), column(cold.data, "author_id")
    if not len(known.batch) or not any(authors):
        return
    index = TasteIndex(cold.data.works)
    popular = PopularityRecommender.fit(cold.data, fitter.config("popularity"), fitter.options)
    few = replace(known.batch, histories=first_of(known, NAMED, fitter.options.seed))
    lists = []
    for part, whole in zip(few.parts(), known.batch.parts(), strict=True):
        scores = BlendGrid().tastes_popularity * popular.scores(part)
        for row, (start, end) in enumerate(zip(part.histories.indptr[:-1], part.histories.indptr[1:], strict=True)):
            named = {str(authors[work]) for work in part.histories.indices[start:end] if authors[work]}
            scores[row] += index.scores(index.known(named))
        lists.append(_best(scores, whole))
    yield _row("tastes", f"new reader, {NAMED} authors named", joined(lists), known)


def first_of(known: Asked, n: int, seed: int) -> sparse.csr_matrix:
    """`n` works of each history, drawn at random; the fewer are among the more."""
    histories = known.batch.histories.tocoo()
    drawn = np.random.default_rng(seed).random(histories.nnz)
    owner = histories.coords[0]
    order = np.lexsort((drawn, owner))
    starts = np.searchsorted(owner[order], np.arange(histories.shape[0]))
    chosen = order[np.arange(order.size) - starts[owner[order]] < n]
    where = (owner[chosen], histories.coords[1][chosen])
    return sparse.csr_matrix((histories.data[chosen], where), shape=histories.shape)


def _works(name: str, model: Recommender, cold: Cold, threads: int) -> Iterator[Row]:
    known = asked(cold.data, TEST)
    known = known.some(np.flatnonzero(known.batch.rows >= 0))
    lists = model.recommend(known.batch, K, threads)
    without = best_of_parts(lambda part: _of_works(model, part, ~cold.new), known.batch, K, threads)
    told = {"new work, author and title": cold.new & ~cold.untold, "new work, title alone": cold.untold}
    halves = cold.untold.any() and any(column(cold.data, "title"))
    kinds = (told if halves else {"new work": cold.new}) | {"work with readers": ~cold.new}
    for tier, kind in kinds.items():
        yield from _of_kind(name, tier, lists, known, kind)
    yield from _of_kind(name, "work with readers, new ones not shown", without, known, ~cold.new)


def _of_works(model: Recommender, part: Batch, shown: npt.NDArray[np.bool_]) -> Lists:
    scores = without_history(model.scores(part), part.histories)
    scores[:, ~shown] = -np.inf
    return best_of(scores, K)


def _of_kind(name: str, tier: str, lists: Lists, known: Asked, kind: npt.NDArray[np.bool_]) -> Iterator[Row]:
    wanted = [[work for work in works if kind[work]] for works in known.relevant]
    asking = np.array([bool(works) for works in wanted])
    some = Asked(known.readers, known.batch, wanted).some(np.flatnonzero(asking))
    if asking.any():
        yield _row(name, tier, Lists(lists.works[asking], lists.scores[asking]), some)


def _best(scores: Floats, whole: Batch) -> Lists:
    return best_of(without_history(scores, whole.histories), K)


def _row(name: str, tier: str, lists: Lists, known: Asked) -> Row:
    hits = find_hits(lists.works, known.relevant, known.batch.histories.shape[1])
    wanted = known.n_relevant
    return Row(name, tier, len(wanted), recall_at(hits, wanted, K), ndcg_at(hits, wanted, K))
