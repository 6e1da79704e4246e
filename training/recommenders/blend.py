"""Several recommenders as one: the weighted sum of their scores, each in units of its own spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from bookworks.metrics.ranking import Values, find_hits, ndcg_at
from training.dataset import TRAIN, VALID, Dataset
from training.kernels import standardised
from training.params import Options, Params
from training.recommenders.all import Fitter, load_member
from training.recommenders.base import Batch, Floats, Recommender, best_of, read_values, without_history, write_values
from training.recommenders.content import column, readers_of
from training.recommenders.new_works import allowed, as_far_as, recall_of_others
from training.split_files import hold_out

K = 20
MOST_BYTES = 1_500_000_000  # of scores held while weights are found


class BlendParams(Params):
    """Config of `blend`."""

    sources: tuple[str, ...] = ()
    weights: dict[str, float] = Field({}, description="Fixed weights; of the others one is found on held-out rows.")
    steps: tuple[float, ...] = Field((0.0, 0.5, 1.5, 2.0), description="Factors that are tried for a weight.")
    rounds: int = Field(5, ge=0)
    new_lift: float | None = Field(None, ge=1, description="Factor on new works; without one it is found.")
    new_steps: tuple[float, ...] = Field(
        (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0), description="… among these."
    )
    new_cost: float = Field(0.005, ge=0, description="Recall@20 that other works may lose for each tenth of new works.")
    readers: int = Field(2000, ge=1, description="Held-out readers that choose weights and factor.")
    held_out: float = Field(0.1, gt=0, lt=1, description="Share of each reader's rows, where there is no part `valid`.")


@dataclass(frozen=True)
class Mix:
    """How sources are mixed: the weight of each, and the factor on the sum of a work without readers."""

    weights: Mapping[str, float]
    new_lift: float = 1.0


@dataclass(frozen=True)
class Blend(Recommender):
    """Sum of weight times score, scores less their mean and divided by their deviation over the catalogue.

    Works of which the history holds another edition are never recommended.
    """

    Config = BlendParams
    composite = True
    members: Mapping[str, Recommender]
    mix: Mix
    same_work: sparse.csr_matrix  # bool [n_works, n_works], without its diagonal
    new: npt.NDArray[np.bool_]  # works without training rows, [n_works]

    @classmethod
    def fit(cls, data: Dataset, config: BlendParams, options: Options, fitter: Fitter | None = None) -> Self:
        """Find the mix on held-out rows, with sources fitted to the others; then fit the sources to all."""
        fitter = fitter or Fitter(options)
        if set(config.sources) <= set(config.weights) and config.new_lift is not None:
            return cls.of(later(data), config, Mix(config.weights, config.new_lift), fitter)
        inner = data if data.rows(VALID).num_rows else hold_out(data, config.held_out, options.seed)
        known = sample(held_out_of(data, inner), config.readers, options.seed)
        members = {name: fitter.fit(name, inner) for name in config.sources}
        mix = find_mix(members, known, config, inner)
        fitter.forget(inner)
        return cls.of(later(data), config, mix, fitter)

    @classmethod
    def of(cls, data: Dataset, config: BlendParams, mix: Mix, fitter: Fitter) -> Self:
        """A known mix with sources fitted to `data`; a source without weight is not fitted."""
        used = [name for name in config.sources if mix.weights[name]]
        return cls({name: fitter.fit(name, data) for name in used}, mix, same_work(data), readers_of(data) == 0)

    def scores(self, batch: Batch) -> Floats:
        """The weighted sum."""
        total = np.zeros(batch.histories.shape, dtype=np.float32)
        for name, weight in self.mix.weights.items():
            if weight:
                standardised(self.members[name].scores(batch), total, weight)
        return self.finished(total, batch.histories)

    def finished(self, total: Floats, histories: sparse.csr_matrix) -> Floats:
        """A weighted sum with new works lifted and other editions of the history left out; in place."""
        total[:, self.new] = lifted(total[:, self.new], self.mix.new_lift)
        return without_history(total, sparse.csr_matrix(histories @ self.same_work))

    def save(self, folder: Path) -> None:
        """Write the weights, and each member into a folder of its name."""
        weights = list(self.mix.weights.items())  # in this order the features of a ranker stand
        write_values(folder / "blend.json", {"weights": weights, "new_lift": self.mix.new_lift})
        sparse.save_npz(folder / "same_work.npz", self.same_work)
        np.save(folder / "new.npy", self.new)
        for name, member in self.members.items():
            member.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read weights and members."""
        told = read_values(folder / "blend.json")
        mix = Mix(dict(told["weights"]), told["new_lift"])
        members = {name: load_member(name, folder / name) for name in mix.weights if (folder / name).is_dir()}
        pairs = sparse.csr_matrix(sparse.load_npz(folder / "same_work.npz"))
        return cls(members, mix, pairs, np.load(folder / "new.npy"))


def lifted(total: Floats, factor: float) -> Floats:
    """Sums above 0 times a factor: what is liked more than the mean is liked the more."""
    return np.where(total > 0, total * np.float32(factor), total)


def same_work(data: Dataset) -> sparse.csr_matrix:
    """Pairs of different rows that are editions of one work, bool [n_works, n_works]."""
    keys = np.array([str(key or f"\0{row}") for row, key in enumerate(column(data, "work_key"))])
    _, group = np.unique(keys, return_inverse=True)
    member = sparse.csr_matrix((np.ones(len(group), bool), (np.arange(len(group)), group)))
    pairs = sparse.csr_matrix(member @ member.T)
    pairs.setdiag(False)
    pairs.eliminate_zeros()
    return pairs


@dataclass(frozen=True)
class Asked:
    """Readers of held-out rows, and what they read there.

    Attributes:
        readers: rows of the dataset's readers, int64 [n].
        batch: the readers with the history that the sources were fitted to.
        relevant: work indices, [n].
        untried: works that are not ranked for them, bool [n_works].
    """

    readers: npt.NDArray[np.int64]
    batch: Batch
    relevant: list[list[int]]
    untried: npt.NDArray[np.bool_]

    @property
    def n_relevant(self) -> npt.NDArray[np.int64]:
        """Held-out works of each reader."""
        return np.array([len(works) for works in self.relevant], dtype=np.int64)

    def some(self, rows: npt.NDArray[np.int64]) -> Asked:
        """These readers alone."""
        part = self.batch
        labels = ([values[i] for i in rows] for values in (part.age_bins, part.countries))
        batch = Batch(part.rows[rows], part.histories[rows], *labels)
        return Asked(self.readers[rows], batch, [self.relevant[i] for i in rows], self.untried)


def asked(data: Dataset, part: str, known: tuple[str, ...] = (TRAIN,)) -> Asked:
    """Readers with rows in `part`; their history is the parts `known`, which they are not asked for again."""
    histories, held = data.matrix(*known), data.matrix(part)
    held = sparse.csr_matrix(held - held.multiply(histories > 0))
    held.eliminate_zeros()
    readers = np.flatnonzero(np.diff(held.indptr))
    labels = ([values[r] for r in readers] for values in (data.labels("age_bin"), data.labels("country")))
    rows = np.where(readers < data.n_trained, readers, -1)
    works = [held.indices[held.indptr[r] : held.indptr[r + 1]].tolist() for r in readers]
    return Asked(readers, Batch(rows, histories[readers], *labels), works, np.zeros(data.n_works, dtype=bool))


def held_out_of(data: Dataset, inner: Dataset) -> Asked:
    """Readers with rows in the part `valid` of `inner`, which is `data` or what `hold_out` made of it.

    What nobody has read can be no held-out row where these are drawn from training rows, and would look worse than
    what will be read later: such works are not ranked. A part `valid` of the data's own may hold them.
    """
    known = asked(inner, VALID)
    return known if inner is data else replace(known, untried=readers_of(data) == 0)


def later(data: Dataset) -> Dataset:
    """The dataset with the part `valid`, if any, as training rows."""
    return data.merged(VALID, TRAIN) if data.rows(VALID).num_rows else data


def sample(asked_all: Asked, n: int, seed: int) -> Asked:
    """At most `n` readers, drawn at random."""
    if len(asked_all.batch) <= n:
        return asked_all
    return asked_all.some(np.sort(np.random.default_rng(seed).choice(len(asked_all.batch), n, replace=False)))


def find_mix(members: Mapping[str, Recommender], known: Asked, config: BlendParams, data: Dataset) -> Mix:
    """Weights that rank held-out readers best, then the factor on new works as far as its cost allows.

    Args:
        members: fitted to the training rows of `data`.
        known: readers of held-out rows.
        config: what is fixed and what is tried.
        data: whose catalogue it is, and who has read what of it.
    """
    scored = _Scored(members, known, data)
    weights = _find_weights(scored, members, config)
    lift = config.new_lift
    if lift is None:
        total = scored.total(weights)
        cost, before = allowed(config.new_cost, scored.new[~known.untried]), scored.recall_of_others(total, None)
        lift = as_far_as(cost, config.new_steps, lambda step: scored.recall_of_others(total, step), before)
    return Mix(weights, lift)


def _find_weights(scored: _Scored, members: Mapping[str, Recommender], config: BlendParams) -> dict[str, float]:
    """Weights by coordinate search for NDCG@20 on held-out readers; each begins at 1, or is fixed by the config.

    A weight moves only where that gains more than half of a standard error over the readers.
    """
    weights = {name: float(config.weights.get(name, 1.0)) for name in members}
    free = [name for name in members if name not in config.weights]
    if not free:
        return weights
    best = scored.ndcg(weights)
    for _ in range(config.rounds):
        before = dict(weights)
        for name in free:
            step, value = scored.best_step(weights, name, config.steps)
            gain = value - best
            if gain.mean() > 0.5 * gain.std() / np.sqrt(max(gain.size, 1)):
                weights[name], best = weights[name] * step, value
        if weights == before:
            break
    return weights


class _Scored:
    """Held-out readers scored by every member, to try weights quickly."""

    def __init__(self, members: Mapping[str, Recommender], known: Asked, data: Dataset) -> None:
        known = known.some(np.arange(min(len(known.batch), self._most(len(members), known))))
        histories = known.batch.histories
        self._known = known
        self._hidden = sparse.csr_matrix(histories + histories @ same_work(data))
        self.new = readers_of(data) == 0
        self._scores = {name: standardised(member.scores(known.batch)) for name, member in members.items()}

    @staticmethod
    def _most(members: int, known: Asked) -> int:
        """Readers whose scores by all members fit into `MOST_BYTES`."""
        return max(1, MOST_BYTES // (4 * members * known.batch.histories.shape[1]))

    def ndcg(self, weights: Mapping[str, float]) -> Values:
        """NDCG@20 of each reader."""
        return self._ndcg_of(self.total(weights))

    def best_step(self, weights: Mapping[str, float], name: str, steps: tuple[float, ...]) -> tuple[float, Values]:
        """The factor of one weight that ranks best, and NDCG@20 of each reader under it."""
        rest = self.total(weights | {name: 0.0})
        tried = {step: self._ndcg_of(rest + np.float32(weights[name] * step) * self._scores[name]) for step in steps}
        return max(tried.items(), key=lambda item: float(item[1].mean()))

    def total(self, weights: Mapping[str, float]) -> Floats:
        """The weighted sum of all works, -inf for those that are not ranked."""
        total = np.zeros(self._known.batch.histories.shape, dtype=np.float32)
        for name, weight in weights.items():
            if weight:
                total += np.float32(weight) * self._scores[name]
        total[:, self._known.untried] = -np.inf
        return without_history(total, self._hidden)

    def recall_of_others(self, total: Floats, lift: float | None) -> Values:
        """Recall@20 of works with readers when new works are lifted by this factor; with None they are not shown."""
        tried = total.copy()
        tried[:, self.new] = -np.inf if lift is None else lifted(tried[:, self.new], lift)
        return recall_of_others(best_of(tried, K).works, self._known.relevant, self.new)

    def _ndcg_of(self, total: Floats) -> Values:
        hits = find_hits(best_of(total, K).works, self._known.relevant, total.shape[1])
        return ndcg_at(hits, self._known.n_relevant, K)
