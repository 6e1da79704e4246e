"""Held-out readers: what is known of each, and what a good list would contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from bookworks.metrics.bootstrap import Interval, coverage_interval, mean_interval
from bookworks.metrics.ranking import Ranked, find_hits, ndcg_at, novelty, pad, recall_at
from bookworks.models.bundle import Bundle
from bookworks.models.reader import Context, ReaderState
from training.dataset import Dataset
from training.recommenders.base import Batch
from training.split import hash_share

KS = (10, 20)
OCCURRED_AT = "occurred_at"
SLICES = ("all", "warm", "session", "cold")


@dataclass(frozen=True)
class HeldOut:
    """Readers with at least one relevant held-out work that is not in their history.

    Attributes:
        batch: readers as the models see them.
        states: the same readers as the bundle sees them.
        relevant: relevant held-out work indices of each reader.
        slices: `warm` (trained), `session` (a history alone) or `cold`, [n].
    """

    batch: Batch
    states: list[ReaderState]
    relevant: list[list[int]]
    slices: npt.NDArray[np.str_]
    n_works: int

    def __len__(self) -> int:
        """Readers."""
        return len(self.relevant)

    @property
    def n_relevant(self) -> npt.NDArray[np.int64]:
        """Relevant works of each reader."""
        return np.array([len(works) for works in self.relevant], dtype=np.int64)

    def ndcg(self, ranked: Ranked, k: int) -> npt.NDArray[np.float64]:
        """NDCG@k of each reader."""
        return ndcg_at(find_hits(ranked, self.relevant, self.n_works), self.n_relevant, k)

    def rows_by_hash(self, n: int) -> npt.NDArray[np.int64]:
        """Rows of at most `n` readers, in their order, chosen by a hash of the reader's id."""
        return by_hash([str(state.user_id) for state in self.states], n)

    def some(self, rows: npt.NDArray[np.int64]) -> HeldOut:
        """These readers alone."""
        part = self.batch
        ages, countries = ([values[i] for i in rows] for values in (part.age_bins, part.countries))
        return HeldOut(
            batch=Batch(part.rows[rows], part.histories[rows], ages, countries),
            states=[self.states[i] for i in rows],
            relevant=[self.relevant[i] for i in rows],
            slices=self.slices[rows],
            n_works=self.n_works,
        )


def make_held_out(
    data: Dataset, known: tuple[str, ...], held_out: str, relevant_weight: float, max_readers: int
) -> HeldOut:
    """Readers with relevant works in part `held_out`; their history is the parts `known`.

    More than `max_readers` are thinned by a hash of the reader's id.
    """
    held = data.matrix(held_out)
    held.data[held.data < relevant_weight] = 0
    histories = data.matrix(*known)
    held = held - held.multiply(histories > 0)
    held.eliminate_zeros()
    readers = np.flatnonzero(np.diff(held.tocsr().indptr))
    users = data.labels("user_id")
    readers = readers[by_hash([str(users[r]) for r in readers], max_readers)]
    ages, countries = data.labels("age_bin"), data.labels("country")
    rows = np.where(readers < data.n_trained, readers, -1)
    past = data.histories(readers, *known)
    asked, latest = _times(data, "min", held_out), _times(data, "max", *known)
    held = held.tocsr()
    return HeldOut(
        batch=Batch(rows, histories[readers], [ages[r] for r in readers], [countries[r] for r in readers]),
        states=[
            ReaderState(users[r], works, weights, ages[r], countries[r], context=_context(asked.get(r), latest.get(r)))
            for r, (works, weights) in zip(readers, past, strict=True)
        ],
        relevant=[held.indices[held.indptr[r] : held.indptr[r + 1]].tolist() for r in readers],
        slices=np.where(rows >= 0, "warm", np.where([bool(works) for works, _ in past], "session", "cold")),
        n_works=data.n_works,
    )


def _times(data: Dataset, which: str, *parts: str) -> dict[int, datetime | None]:
    """Reader -> the earliest (`min`) or latest (`max`) time in these parts; none where there are no times."""
    if OCCURRED_AT not in data.interactions.column_names:
        return {}
    found = data.rows(*parts).group_by("reader").aggregate([(OCCURRED_AT, which)])
    return dict(zip(found["reader"].to_pylist(), found[f"{OCCURRED_AT}_{which}"].to_pylist(), strict=True))


def _context(asked: datetime | None, latest: datetime | None) -> Context:
    """Books are asked for when the first of the held-out ones was read."""
    return Context() if asked is None else Context.at(asked, latest)


def by_hash(ids: Sequence[str], n: int) -> npt.NDArray[np.int64]:
    """Places of at most `n` ids, rising; the same ids give the same places."""
    if len(ids) <= n:
        return np.arange(len(ids))
    return np.sort(np.argsort([hash_share(one) for one in ids], kind="stable")[:n])


def rank_with_bundle(bundle: Bundle, states: list[ReaderState], n: int) -> Ranked:
    """The lists that the service would give, int64 [len(states), n]."""
    return pad([bundle.recommend(state, n).indices for state in states], n)


def measure(
    name: str, ranked: Ranked, tests: HeldOut, readers_of_work: npt.NDArray[np.int64], n_readers: int
) -> list[dict[str, object]]:
    """Rows `model, metric, k, slice, value, low, high` of one model; coverage and novelty over all readers only."""
    hits, n_relevant = find_hits(ranked, tests.relevant, tests.n_works), tests.n_relevant
    rows = []
    for part in SLICES:
        chosen = np.flatnonzero(tests.slices == part) if part != "all" else np.arange(len(tests))
        if not chosen.size:
            continue
        for k in KS:
            rows.append(_row(name, "recall", k, part, mean_interval(recall_at(hits, n_relevant, k)[chosen])))
            rows.append(_row(name, "ndcg", k, part, mean_interval(ndcg_at(hits, n_relevant, k)[chosen])))
    for k in KS:
        shown = ranked[:, :k]
        rows.append(_row(name, "coverage", k, "all", coverage_interval(shown, tests.n_works)))
        rows.append(_row(name, "novelty", k, "all", mean_interval(novelty(shown, readers_of_work, n_readers))))
    return rows


def _row(model: str, metric: str, k: int, part: str, interval: Interval) -> dict[str, object]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {"model": model, "metric": metric, "k": k, "slice": part, **values}
