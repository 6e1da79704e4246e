"""Gradient-boosted trees over the candidates of all sources.

The sources are fitted to earlier rows, the trees learn which of their candidates were read later, then the sources are
fitted again to all rows and the trees kept. So no source has seen what the trees learn from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.metrics.ranking import PAD, find_hits, ndcg_at
from training.dataset import VALID, Dataset
from training.params import Options, Params
from training.recommenders.all import Fitter
from training.recommenders.base import Batch, Floats, Lists, Recommender, best_of, side_by_side, without_history
from training.recommenders.blend import (
    Asked,
    Blend,
    BlendParams,
    K,
    asked,
    find_weights,
    later,
    same_work,
    sample,
    standardised,
)
from training.recommenders.ranker_features import WorkFacts, features, names_of
from training.split_files import hold_out

Objective = Literal["binary", "lambdarank"]
PART = 256  # readers whose scores by all sources are in memory at a time


class RankerParams(Params):
    """Config of `ranker`."""

    blend: BlendParams = BlendParams()
    candidates: int = Field(150, ge=1, description="Of each reader, the first of the blend.")
    folds: int = Field(5, ge=1, description="At most so many times other rows are held out …")
    readers: int = Field(45_000, ge=2, description="… until so many readers teach the trees.")
    objectives: tuple[Objective, ...] = ("binary", "lambdarank")
    leaves: int = Field(15, ge=2)
    trees: int = Field(300, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    min_rows: int = Field(200, ge=1, description="Rows of a leaf.")
    held_out_readers: float = Field(0.1, gt=0, lt=1, description="Share that chooses objective and number of trees.")
    patience: int = Field(30, ge=1)


@dataclass(frozen=True)
class Taught:
    """What the trees learn from.

    Attributes:
        rows: features, float32 [n_readers * n_candidates, n_features], a reader's candidates one after the other.
        read: whether each was read, bool [n_readers, n_candidates].
        n_relevant: held-out works of each reader, also those that are no candidates, [n_readers].
    """

    rows: Floats
    read: npt.NDArray[np.bool_]
    n_relevant: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Readers."""
        return len(self.read)

    def ndcg(self, values: Floats) -> float:
        """Mean NDCG@20 of the candidates in the order of `values`, [n_readers * n_candidates]."""
        order = np.argsort(-values.reshape(self.read.shape), axis=1, kind="stable")[:, :K]
        return float(ndcg_at(np.take_along_axis(self.read, order, axis=1), self.n_relevant, K).mean())

    def with_hits(self) -> Taught:
        """Readers of whom a candidate was read: the others teach no order."""
        hit = self.read.any(axis=1)
        return Taught(self.rows[np.repeat(hit, self.read.shape[1])], self.read[hit], self.n_relevant[hit])

    def part(self, start: int, stop: int) -> Taught:
        """Readers `start` to `stop`."""
        n = self.read.shape[1]
        return Taught(self.rows[start * n : stop * n], self.read[start:stop], self.n_relevant[start:stop])


@dataclass(frozen=True)
class Ranker(Recommender):
    """The candidates of a blend, put in order by the trees; after them the rest of the blend."""

    Config = RankerParams
    composite = True
    blend: Blend
    facts: WorkFacts
    booster: lgb.Booster | None  # None where nothing was there to learn from: the order of the blend stays
    candidates: int
    report: dict[str, Any]

    @classmethod
    def fit(cls, data: Dataset, config: RankerParams, options: Options, fitter: Fitter | None = None) -> Self:
        """Learn the trees on held-out rows, then fit the sources to all."""
        fitter = fitter or Fitter(options)
        weights, booster, report = learn(data, config, options, fitter)
        return cls.of(later(data), config, weights, booster, report, fitter)

    @classmethod
    def of(cls, data: Dataset, config: RankerParams, weights: Mapping[str, float], booster: lgb.Booster | None,
           report: dict[str, Any], fitter: Fitter) -> Self:  # fmt: skip
        """Trees with sources fitted to `data`."""
        members = {name: fitter.fit(name, data) for name in config.blend.sources}
        return cls(Blend(members, weights, same_work(data)), WorkFacts.of(data), booster, config.candidates, report)

    def scores(self, batch: Batch) -> Floats:
        """The blend's scores, with those of the candidates lifted above the rest in the order of the trees."""
        parts = [self._scores(part) for part in batch.parts(PART)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.facts.readers)), dtype=np.float32)

    def _scores(self, part: Batch) -> Floats:
        lists, values, total = self._ranked(part)
        lifted = total.copy()
        top = np.where(np.isfinite(total), total, 0.0).max(axis=1, keepdims=True)
        known = lists.works != PAD
        rows = np.broadcast_to(np.arange(len(part))[:, None], known.shape)
        low = values.min(axis=1, keepdims=True)
        lifted[rows[known], lists.works[known]] = (top + 1.0 + values - low)[known]
        return lifted

    def best(self, part: Batch, n: int) -> Lists:
        """The best `n` of the candidates; more than these come from the blend."""
        if n > self.candidates:
            return super().best(part, n)
        return _joined([self._best(small, n) for small in part.parts(PART)])

    def _best(self, part: Batch, n: int) -> Lists:
        lists, values, _ = self._ranked(part)
        order = best_of(np.where(lists.works == PAD, -np.inf, values), n)
        works = np.take_along_axis(lists.works, np.maximum(order.works, 0), axis=1)
        return Lists(np.where(order.works == PAD, PAD, works), order.scores)

    def _ranked(self, part: Batch) -> tuple[Lists, Floats, Floats]:
        lists, rows, total = candidates_of(self.blend, self.facts, part, self.candidates)
        if self.booster is None:
            return lists, np.where(lists.works == PAD, 0.0, lists.scores), total
        values = self.booster.predict(rows.reshape(-1, rows.shape[2]), num_threads=1)
        return lists, np.asarray(values, dtype=np.float32).reshape(lists.works.shape), total

    def contributions(self, batch: Batch, n: int) -> list[list[dict[str, float]]]:
        """Of each of the best `n` works of each reader, what every feature adds to its score.

        The values of a work, with `base`, sum to the score of the trees before any link function (Lundberg et al.:
        "Consistent Individualized Feature Attribution for Tree Ensembles", 2018).
        """
        names = [*names_of(self.blend.members, self.facts), "base"]
        told: list[list[dict[str, float]]] = []
        if self.booster is None:
            return [[{} for work in works if work != PAD] for works in self.recommend(batch, n).works]
        for part in batch.parts(PART):
            lists, rows, _ = candidates_of(self.blend, self.facts, part, self.candidates)
            best = self._best(part, n)
            for reader, works in enumerate(best.works):
                place = [int(np.flatnonzero(lists.works[reader] == work)[0]) for work in works if work != PAD]
                added = self.booster.predict(rows[reader, place], pred_contrib=True, num_threads=1)
                told.append([dict(zip(names, map(float, line), strict=True)) for line in np.asarray(added)])
        return told

    def save(self, folder: Path) -> None:
        """Write the trees, the facts and the blend."""
        self.blend.save(folder / "blend")
        if self.booster is not None:
            self.booster.save_model(folder / "trees.txt")
        groups = {f"group_{name}": values for name, values in self.facts.group.items()}
        np.savez(folder / "facts.npz", readers=self.facts.readers, year=self.facts.year, place=self.facts.place,
                 expected=self.facts.expected, **groups)  # fmt: skip
        told = {"candidates": self.candidates, "report": self.report}
        (folder / "ranker.json").write_text(json.dumps(told), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        told = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
        with np.load(folder / "facts.npz") as stored:
            group = {name.removeprefix("group_"): stored[name] for name in stored.files if name.startswith("group_")}
            facts = WorkFacts(stored["readers"], stored["year"], stored["place"], group, stored["expected"])
        trees = folder / "trees.txt"
        booster = lgb.Booster(model_file=trees) if trees.is_file() else None
        return cls(Blend.load(folder / "blend"), facts, booster, **told)


def candidates_of(blend: Blend, facts: WorkFacts, part: Batch, n: int) -> tuple[Lists, Floats, Floats]:
    """Candidates of a few readers, their features, and the blend's scores of all works."""
    scores = {name: standardised(member.scores(part)) for name, member in blend.members.items()}
    total = np.zeros(part.histories.shape, dtype=np.float32)
    for name, weight in blend.weights.items():
        total += np.float32(weight) * scores[name]
    total = without_history(without_history(total, part.histories), part.histories @ blend.same_work)
    lists = best_of(total, n)
    return lists, features(blend.members, facts, part, scores, lists), total


def learn(
    data: Dataset, config: RankerParams, options: Options, fitter: Fitter
) -> tuple[dict[str, float], lgb.Booster | None, dict[str, Any]]:
    """Weights of the blend, the trees, and how these were chosen, all from held-out rows."""
    weights: dict[str, float] = {}
    lessons: list[Taught] = []
    for inner in earlier(data, config, options.seed):
        members = {name: fitter.fit(name, inner) for name in config.blend.sources}
        known, pairs = asked(inner, VALID), same_work(inner)
        if not len(known.batch):
            return dict.fromkeys(config.blend.sources, 1.0), None, {"objective": None, "trees": 0, "readers": 0}
        weights = weights or find_weights(
            members, sample(known, config.blend.readers, options.seed), config.blend, pairs
        )
        blend, facts = Blend(members, weights, pairs), WorkFacts.of(inner)
        some = sample(known, config.readers - sum(map(len, lessons)), options.seed + 1)
        lessons.append(teach(blend, facts, some, config.candidates, options.threads))
        names = names_of(members, facts)
        fitter.forget(inner)
        if sum(map(len, lessons)) >= config.readers:
            break
    readers = sum(map(len, lessons))
    booster, report = grow(lessons, names, config, options)
    return weights, booster, report | {"weights": weights, "readers": readers}


def earlier(data: Dataset, config: RankerParams, seed: int) -> Iterator[Dataset]:
    """The dataset with a part `valid`: its own, or several times another share of each reader's training rows."""
    if data.rows(VALID).num_rows:
        return iter([data])
    return (hold_out(data, config.blend.held_out, seed + fold) for fold in range(config.folds))


def teach(blend: Blend, facts: WorkFacts, known: Asked, n: int, threads: int) -> Taught:
    """Candidates of all readers with their features, and whether each was read later."""

    def work(part: tuple[Batch, list[list[int]]]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        lists, rows, _ = candidates_of(blend, facts, part[0], n)
        return rows.reshape(-1, rows.shape[2]), find_hits(lists.works, part[1], part[0].histories.shape[1])

    parts = side_by_side(work, _parts(known), threads)
    return Taught(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), known.n_relevant)


def _parts(known: Asked) -> Iterator[tuple[Batch, list[list[int]]]]:
    for i, part in enumerate(known.batch.parts(PART)):
        yield part, known.relevant[i * PART : (i + 1) * PART]


def grow(
    lessons: list[Taught], names: list[str], config: RankerParams, options: Options
) -> tuple[lgb.Booster | None, dict[str, Any]]:
    """The trees of the objective that ranks held-out readers best.

    Of every lesson the same share of readers, the last, is held out; lessons of one dataset have the same readers in
    the same order, so nobody is in both parts.
    """
    cuts = [max(1, round(len(lesson) * (1 - config.held_out_readers))) for lesson in lessons]
    learned = _together([lesson.part(0, cut).with_hits() for lesson, cut in zip(lessons, cuts, strict=True)])
    kept = _together([lesson.part(cut, len(lesson)) for lesson, cut in zip(lessons, cuts, strict=True)])
    lessons.clear()
    if not learned.read.any() or not len(kept):
        return None, {"objective": None, "trees": 0, "valid_ndcg_at_20": {}}
    train = _lgb(learned, names, None)
    valid = _lgb(kept, names, train)
    boosters = {objective: _boost(train, valid, objective, config, options) for objective in config.objectives}
    found = {objective: kept.ndcg(np.asarray(booster.predict(kept.rows))) for objective, booster in boosters.items()}
    best = max(found, key=lambda objective: found[objective])
    blend = kept.ndcg(-np.tile(np.arange(kept.read.shape[1], dtype=np.float32), len(kept)))
    return boosters[best], {
        "objective": best, "trees": boosters[best].num_trees(), "valid_ndcg_at_20": found | {"blend": blend},
    }  # fmt: skip


def _together(lessons: list[Taught]) -> Taught:
    return Taught(*(np.concatenate([getattr(x, name) for x in lessons]) for name in ("rows", "read", "n_relevant")))


def _lgb(taught: Taught, names: list[str], reference: lgb.Dataset | None) -> lgb.Dataset:
    readers, n = taught.read.shape
    label = taught.read.ravel().astype(np.float32)
    return lgb.Dataset(taught.rows, label, group=np.full(readers, n), feature_name=names, reference=reference)


def _boost(
    train: lgb.Dataset, valid: lgb.Dataset, objective: Objective, config: RankerParams, options: Options
) -> lgb.Booster:
    params = {
        "objective": objective, "num_leaves": config.leaves, "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_rows, "metric": "ndcg", "eval_at": [K], "seed": options.seed,
        "num_threads": options.threads, "deterministic": True, "force_row_wise": True, "verbose": -1,
        "lambdarank_truncation_level": 2 * K, "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
    }  # fmt: skip
    stop = lgb.early_stopping(config.patience, verbose=False)
    return lgb.train(params, train, config.trees, valid_sets=[valid], callbacks=[stop])


def _joined(lists: list[Lists]) -> Lists:
    return Lists(np.concatenate([f.works for f in lists]), np.concatenate([f.scores for f in lists]))
