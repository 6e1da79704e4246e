"""Several recommenders as one: the weighted sum of their scores, each in units of its own spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from bookworks.metrics.ranking import Values, find_hits, ndcg_at
from training.dataset import TRAIN, VALID, Dataset
from training.params import Options, Params
from training.recommenders.all import Fitter, load_member
from training.recommenders.base import Batch, Floats, Recommender, best_of, read_values, without_history, write_values
from training.recommenders.content import column
from training.split_files import hold_out

K = 20
MOST_BYTES = 1_500_000_000  # of scores held while weights are found


class BlendParams(Params):
    """Config of `blend`."""

    sources: tuple[str, ...] = ()
    weights: dict[str, float] = Field({}, description="Fixed weights; of the others one is found on held-out rows.")
    steps: tuple[float, ...] = Field((0.0, 0.5, 1.5, 2.0), description="Factors that are tried for a weight.")
    rounds: int = Field(5, ge=0)
    readers: int = Field(2000, ge=1, description="Held-out readers that choose the weights.")
    held_out: float = Field(0.1, gt=0, lt=1, description="Share of each reader's rows, where there is no part `valid`.")


@dataclass(frozen=True)
class Blend(Recommender):
    """Sum of weight times score, scores less their mean and divided by their deviation over the catalogue.

    Works of which the history holds another edition are never recommended.
    """

    Config = BlendParams
    composite = True
    members: Mapping[str, Recommender]
    weights: Mapping[str, float]
    same_work: sparse.csr_matrix  # bool [n_works, n_works], without its diagonal

    @classmethod
    def fit(cls, data: Dataset, config: BlendParams, options: Options, fitter: Fitter | None = None) -> Self:
        """Find the weights on held-out rows, with sources fitted to the others; then fit the sources to all."""
        fitter = fitter or Fitter(options)
        weights = dict(config.weights)
        if not set(config.sources) <= set(weights):
            inner = data if data.rows(VALID).num_rows else hold_out(data, config.held_out, options.seed)
            known = sample(asked(inner, VALID), config.readers, options.seed)
            members = {name: fitter.fit(name, inner) for name in config.sources}
            weights = find_weights(members, known, config, same_work(inner))
            fitter.forget(inner)
        return cls.of(later(data), config, weights, fitter)

    @classmethod
    def of(cls, data: Dataset, config: BlendParams, weights: Mapping[str, float], fitter: Fitter) -> Self:
        """Known weights with sources fitted to `data`; a source without weight is not fitted."""
        used = {name: weights[name] for name in config.sources if weights[name]}
        return cls({name: fitter.fit(name, data) for name in used}, used, same_work(data))

    def scores(self, batch: Batch) -> Floats:
        """The weighted sum."""
        total = np.zeros(batch.histories.shape, dtype=np.float32)
        for name, weight in self.weights.items():
            total += np.float32(weight) * standardised(self.members[name].scores(batch))
        return without_history(total, sparse.csr_matrix(batch.histories @ self.same_work))

    def save(self, folder: Path) -> None:
        """Write the weights, and each member into a folder of its name."""
        write_values(folder / "blend.json", dict(self.weights))
        sparse.save_npz(folder / "same_work.npz", self.same_work)
        for name, member in self.members.items():
            member.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read weights and members."""
        weights = read_values(folder / "blend.json")
        members = {name: load_member(name, folder / name) for name in weights}
        return cls(members, weights, sparse.csr_matrix(sparse.load_npz(folder / "same_work.npz")))


def standardised(scores: Floats) -> Floats:
    """Scores less the mean of their row and divided by its deviation; in place. A constant row becomes zeros."""
    scores -= scores.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", scores, scores) / scores.shape[1])
    scores /= np.where(spread > 1e-12, spread, 1.0)[:, None]
    return scores


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
    """

    readers: npt.NDArray[np.int64]
    batch: Batch
    relevant: list[list[int]]

    @property
    def n_relevant(self) -> npt.NDArray[np.int64]:
        """Held-out works of each reader."""
        return np.array([len(works) for works in self.relevant], dtype=np.int64)

    def some(self, rows: npt.NDArray[np.int64]) -> Asked:
        """These readers alone."""
        part = self.batch
        labels = ([values[i] for i in rows] for values in (part.age_bins, part.countries))
        batch = Batch(part.rows[rows], part.histories[rows], *labels)
        return Asked(self.readers[rows], batch, [self.relevant[i] for i in rows])


def asked(data: Dataset, part: str, known: tuple[str, ...] = (TRAIN,)) -> Asked:
    """Readers with rows in `part`; their history is the parts `known`, which they are not asked for again."""
    histories, held = data.matrix(*known), data.matrix(part)
    held = sparse.csr_matrix(held - held.multiply(histories > 0))
    held.eliminate_zeros()
    readers = np.flatnonzero(np.diff(held.indptr))
    labels = ([values[r] for r in readers] for values in (data.labels("age_bin"), data.labels("country")))
    rows = np.where(readers < data.n_trained, readers, -1)
    works = [held.indices[held.indptr[r] : held.indptr[r + 1]].tolist() for r in readers]
    return Asked(readers, Batch(rows, histories[readers], *labels), works)


def later(data: Dataset) -> Dataset:
    """The dataset with the part `valid`, if any, as training rows."""
    return data.merged(VALID, TRAIN) if data.rows(VALID).num_rows else data


def sample(asked_all: Asked, n: int, seed: int) -> Asked:
    """At most `n` readers, drawn at random."""
    if len(asked_all.batch) <= n:
        return asked_all
    return asked_all.some(np.sort(np.random.default_rng(seed).choice(len(asked_all.batch), n, replace=False)))


def find_weights(
    members: Mapping[str, Recommender], known: Asked, config: BlendParams, pairs: sparse.csr_matrix
) -> dict[str, float]:
    """Weights by coordinate search for NDCG@20 on held-out readers; each begins at 1, or is fixed by the config.

    A weight moves only where that gains more than half of a standard error over the readers.
    """
    weights = {name: float(config.weights.get(name, 1.0)) for name in members}
    free = [name for name in members if name not in config.weights]
    if not free:
        return weights
    scored = _Scored(members, known, pairs)
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

    def __init__(self, members: Mapping[str, Recommender], known: Asked, pairs: sparse.csr_matrix) -> None:
        known = known.some(np.arange(min(len(known.batch), self._most(len(members), known))))
        histories = known.batch.histories
        self._known = known
        self._hidden = sparse.csr_matrix(histories + histories @ pairs)
        self._scores = {name: standardised(member.scores(known.batch)) for name, member in members.items()}

    @staticmethod
    def _most(members: int, known: Asked) -> int:
        """Readers whose scores by all members fit into `MOST_BYTES`."""
        return max(1, MOST_BYTES // (4 * members * known.batch.histories.shape[1]))

    def ndcg(self, weights: Mapping[str, float]) -> Values:
        """NDCG@20 of each reader."""
        return self._ndcg_of(self._total(weights))

    def best_step(self, weights: Mapping[str, float], name: str, steps: tuple[float, ...]) -> tuple[float, Values]:
        """The factor of one weight that ranks best, and NDCG@20 of each reader under it."""
        rest = self._total(weights | {name: 0.0})
        tried = {step: self._ndcg_of(rest + np.float32(weights[name] * step) * self._scores[name]) for step in steps}
        return max(tried.items(), key=lambda item: float(item[1].mean()))

    def _total(self, weights: Mapping[str, float]) -> Floats:
        total = np.zeros(self._known.batch.histories.shape, dtype=np.float32)
        for name, weight in weights.items():
            if weight:
                total += np.float32(weight) * self._scores[name]
        return total

    def _ndcg_of(self, total: Floats) -> Values:
        ranked = best_of(without_history(total, self._hidden), K).works
        hits = find_hits(ranked, self._known.relevant, total.shape[1])
        return ndcg_at(hits, self._known.n_relevant, K)
