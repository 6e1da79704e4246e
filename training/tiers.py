"""Cold start, each tier measured by itself: readers of whom little is known, and works that nobody has read.

A tenth of the readers and a tenth of the works are taken out of the training rows before anything is fitted; half of
these works keep no more than their title. Of a reader without id more and more is told: nothing, named authors, some
clicks, both together, all that was read. All are asked for the same held-out works, and nobody is shown a work of the
whole history, so the rows can be compared. `measure_new_works` takes out works alone, and leaves what is told of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bookworks.metrics.ranking import Values, find_hits, ndcg_at, recall_at
from training.blend import NAMED, BlendGrid
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.measuring import interval
from training.recommenders.all import Fitter
from training.recommenders.base import Batch, Lists, Recommender, best_of, best_of_parts, joined, without_history
from training.recommenders.blend import Asked, asked, sample
from training.recommenders.content import column
from training.recommenders.floors import PopularityRecommender
from training.split_files import hold_out
from training.strangers import CLICKS, Beside, K, Signup, best_unread, first_of, named_of, told_enough

SHARE = 0.1
CHOOSING = 2000  # held-out readers that choose the weight of named authors
KNOWN = "known"  # the part of rows that tell of a stranger, and teach nobody
TOLD = ("author", "author_id", "series", "series_id", "series_number", "publisher", "year", "year_bin")


class Row(NamedTuple):
    """One tier of one model; where authors are named beside clicks, with the weight that held-out readers chose."""

    model: str
    tier: str
    readers: int
    recall: Values
    ndcg: Values
    named_weight: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Means with their 95 % intervals over readers."""
        numbers = {"recall_at_20": interval(self.recall), "ndcg_at_20": interval(self.ndcg)}
        chosen = {} if self.named_weight is None else {"named_weight": self.named_weight}
        return {"model": self.model, "tier": self.tier, "readers": self.readers} | numbers | chosen


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
    cold, seed = made_cold(data, fitter.options.seed), fitter.options.seed
    inner = hold_out(cold.data, SHARE, seed)
    earlier = inner.replaced(inner.rows(TRAIN))
    for name in names:
        weights = _weights_of_named(fitter.fit(name, earlier), inner, earlier, fitter)
        fitter.forget(earlier)
        model = fitter.fit(name, cold.data)
        yield from _readers(name, model, cold, seed)
        yield from _both(name, model, weights, cold, fitter)
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
    return told_enough(known.some(np.flatnonzero(known.batch.rows < 0)))


def _readers(name: str, model: Recommender, cold: Cold, seed: int) -> Iterator[Row]:
    known = strangers(cold)
    if not len(known.batch):
        return
    for label, clicks in (("nothing known", 0), *((_clicks(n), n) for n in CLICKS), ("session", None)):
        batch = known.batch if clicks is None else replace(known.batch, histories=first_of(known, clicks, seed))
        pairs = zip(batch.parts(), known.batch.parts(), strict=True)
        lists = [best_unread(model.scores(part), whole) for part, whole in pairs]
        yield _row(name, f"new reader, {label}", joined(lists), known)


def _clicks(n: int) -> str:
    return f"{n} click{'s' * (n > 1)}"


def _signup(data: Dataset, fitter: Fitter) -> Signup | None:
    """None where no work has an author."""
    if not any(column(data, "author_id")):
        return None
    return Signup.of(data, PopularityRecommender.fit(data, fitter.config("popularity"), fitter.options))


def _tastes(cold: Cold, fitter: Fitter) -> Iterator[Row]:
    known, signup, seed = strangers(cold), _signup(cold.data, fitter), fitter.options.seed
    if not len(known.batch) or signup is None:
        return
    named = replace(known.batch, histories=named_of(known, seed))
    pairs = zip(named.parts(), known.batch.parts(), strict=True)
    lists = [best_unread(signup.scores(part), whole) for part, whole in pairs]
    yield _row("tastes", f"new reader, {NAMED} authors named", joined(lists), known)


def _both(name: str, model: Recommender, weights: Mapping[int, float], cold: Cold, fitter: Fitter) -> Iterator[Row]:
    """Named authors and clicks together."""
    known, signup = strangers(cold), _signup(cold.data, fitter)
    if not len(known.batch) or signup is None:
        return
    beside = Beside(model, signup, known, fitter.options.seed)
    for n, weight in weights.items():
        lists = beside.lists(n, weight)
        yield _row(name, f"new reader, {NAMED} authors + {_clicks(n)}", lists, known)._replace(named_weight=weight)


def _weights_of_named(model: Recommender, inner: Dataset, earlier: Dataset, fitter: Fitter) -> dict[int, float]:
    """Clicks -> weight of named authors beside them that ranks trained readers' held-out works best.

    Args:
        model: fitted to `earlier`.
        inner: with a part `valid`.
        earlier: its training rows alone.
        fitter: of seed and configs.
    """
    known, signup, seed = told_enough(asked(inner, VALID)), _signup(earlier, fitter), fitter.options.seed
    if not len(known.batch) or signup is None:
        return dict.fromkeys(CLICKS, 1.0)
    some = sample(known, CHOOSING, seed)
    beside, tried = Beside(model, signup, some, seed), BlendGrid().named_weights
    return {n: max(tried, key=lambda weight: float(_ndcg(beside.lists(n, weight), some).mean())) for n in CLICKS}


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
    some = replace(known, relevant=wanted).some(np.flatnonzero(asking))
    if asking.any():
        yield _row(name, tier, Lists(lists.works[asking], lists.scores[asking]), some)


def _hits(lists: Lists, known: Asked) -> npt.NDArray[np.bool_]:
    return find_hits(lists.works, known.relevant, known.batch.histories.shape[1])


def _ndcg(lists: Lists, known: Asked) -> Values:
    return ndcg_at(_hits(lists, known), known.n_relevant, K)


def _row(name: str, tier: str, lists: Lists, known: Asked) -> Row:
    wanted = known.n_relevant
    return Row(name, tier, len(wanted), recall_at(_hits(lists, known), wanted, K), _ndcg(lists, known))
