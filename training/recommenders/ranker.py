"""Gradient-boosted trees over the candidates of all sources.

The sources are fitted to earlier rows, the trees learn which of their candidates were read later, then the sources are
fitted again to all rows and the trees kept. So no source has seen what the trees learn from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.metrics.ranking import PAD, find_hits, ndcg_at
from training.dataset import VALID, Dataset
from training.params import Options, Params
from training.recommenders.all import Fitter
from training.recommenders.base import Batch, Floats, Lists, Recommender, best_of, joined, side_by_side, without_history
from training.recommenders.blend import (
    Asked,
    Blend,
    BlendParams,
    K,
    Mix,
    asked,
    find_mix,
    later,
    same_work,
    sample,
    standardised,
)
from training.recommenders.content import readers_of
from training.recommenders.new_works import allowed, as_far_as
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
    bags: int = Field(3, ge=1, description="Boosters of other draws of rows and features, whose scores are averaged.")
    learning_rate: float = Field(0.1, gt=0)
    min_rows: int = Field(200, ge=1, description="Rows of a leaf.")
    weight_power: float = Field(0.0, ge=0, le=1, description="A reader of n held-out works weighs n to minus this.")
    held_out_readers: float = Field(0.1, gt=0, lt=1, description="Share that chooses objective and number of trees.")
    new_steps: tuple[float, ...] = Field(
        (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0), description="Added to new works."
    )
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
class Trees:
    """What puts candidates in order.

    Attributes:
        boosters: LightGBM's, of the same objective; the mean of their scores counts.
        new_bonus: added to the score of a work without readers.
        slope, intercept: of the logistic function that makes a score a probability (Platt 1999).
    """

    boosters: tuple[lgb.Booster, ...]
    new_bonus: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0

    def scores(self, rows: Floats, threads: int = 0) -> Floats:
        """Of features, float32 [..., n_features]: the sum over the trees, without bonus and before any link, [...]."""
        flat = rows.reshape(-1, rows.shape[-1])
        found = [booster.predict(flat, raw_score=True, num_threads=threads) for booster in self.boosters]
        return np.mean(found, axis=0, dtype=np.float32).reshape(rows.shape[:-1])

    def contributions(self, rows: Floats) -> npt.NDArray[np.float64]:
        """What each feature, and last the base, adds to the score of a work, [n, n_features + 1]."""
        found = [np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1)) for booster in self.boosters]
        return np.mean(found, axis=0)

    def probabilities(self, scores: Floats) -> Floats:
        """How likely each work is among those that were held out of the reader's rows, from `scores`."""
        return logistic(scores, self.slope, self.intercept)


def logistic(scores: Floats, slope: float, intercept: float) -> Floats:
    """1 / (1 + exp(-(slope * scores + intercept)))."""
    return (1.0 / (1.0 + np.exp(-(slope * scores + intercept)))).astype(np.float32)


class Explained(NamedTuple):
    """One work of a list: how likely it is read, and feature -> what that adds to its score."""

    probability: float
    contributions: dict[str, float]


@dataclass(frozen=True)
class Ranker(Recommender):
    """The candidates of a blend, put in order by the trees; after them the rest of the blend."""

    Config = RankerParams
    composite = True
    blend: Blend
    facts: WorkFacts
    trees: Trees | None  # None where nothing was there to learn from: the order of the blend stays
    candidates: int
    report: dict[str, Any]

    @classmethod
    def fit(cls, data: Dataset, config: RankerParams, options: Options, fitter: Fitter | None = None) -> Self:
        """Learn the trees on held-out rows, then fit the sources to all."""
        fitter = fitter or Fitter(options)
        mix, trees, report = learn(data, config, options, fitter)
        full = later(data)
        report |= {"weights": dict(mix.weights), "new_lift": mix.new_lift}
        return cls(_all_of(full, config, mix, fitter), WorkFacts.of(full), trees, config.candidates, report)

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
        return joined([self._best(small, n) for small in part.parts(PART)])

    def _best(self, part: Batch, n: int) -> Lists:
        lists, values, _ = self._ranked(part)
        return _first(lists, values, n)

    def _ranked(self, part: Batch) -> tuple[Lists, Floats, Floats]:
        """Candidates, the score that orders them, and the blend's scores of all works."""
        lists, rows, total = candidates_of(self.blend, self.facts, part, self.candidates)
        return lists, self._values(lists, rows), total

    def _values(self, lists: Lists, rows: Floats) -> Floats:
        """The score that orders the candidates."""
        if self.trees is None:
            return np.where(lists.works == PAD, 0.0, lists.scores)
        return self.trees.scores(rows, 1) + np.float32(self.trees.new_bonus) * self.blend.new[lists.works]

    def explained(self, batch: Batch, n: int) -> list[list[Explained]]:
        """Of each of the best `n` works of each reader its probability, and what every feature adds to its score.

        The contributions of a work, with `base` and `new_work`, sum to its score (Lundberg et al.: "Consistent
        Individualized Feature Attribution for Tree Ensembles", 2018).
        """
        told: list[list[Explained]] = []
        if self.trees is None:
            return [[] for _ in range(len(batch))]
        for part in batch.parts(PART):
            lists, rows, _ = candidates_of(self.blend, self.facts, part, self.candidates)
            for reader, works in enumerate(_first(lists, self._values(lists, rows), n).works):
                place = [int(np.flatnonzero(lists.works[reader] == work)[0]) for work in works if work != PAD]
                told.append(self._explain(self.trees, works[works != PAD], rows[reader, place]))
        return told

    def _explain(self, trees: Trees, works: npt.NDArray[np.int64], rows: Floats) -> list[Explained]:
        names = [*names_of(self.blend.members, self.facts), "base", "new_work"]
        added = trees.contributions(rows)
        bonus = np.where(self.blend.new[works], trees.new_bonus, 0.0)
        lines = np.column_stack([added, bonus]).tolist()
        chances = trees.probabilities(added.sum(axis=1)).tolist()
        return [
            Explained(chance, dict(zip(names, line, strict=True))) for chance, line in zip(chances, lines, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write the trees, the facts and the blend."""
        self.blend.save(folder / "blend")
        groups = {f"group_{name}": values for name, values in self.facts.group.items()}
        np.savez(folder / "facts.npz", readers=self.facts.readers, year=self.facts.year, place=self.facts.place,
                 expected=self.facts.expected, **groups)  # fmt: skip
        told: dict[str, Any] = {"candidates": self.candidates, "report": self.report}
        if self.trees is not None:
            for place, booster in enumerate(self.trees.boosters):
                booster.save_model(folder / f"trees_{place}.txt")
            told["trees"] = {name: getattr(self.trees, name) for name in ("new_bonus", "slope", "intercept")}
        (folder / "ranker.json").write_text(json.dumps(told), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        told = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
        with np.load(folder / "facts.npz") as stored:
            group = {name.removeprefix("group_"): stored[name] for name in stored.files if name.startswith("group_")}
            facts = WorkFacts(stored["readers"], stored["year"], stored["place"], group, stored["expected"])
        files = sorted(folder.glob("trees_*.txt"), key=lambda file: int(file.stem.rpartition("_")[2]))
        boosters = tuple(lgb.Booster(model_file=file) for file in files)
        trees = Trees(boosters, **told["trees"]) if boosters else None
        return cls(Blend.load(folder / "blend"), facts, trees, told["candidates"], told["report"])


def _first(lists: Lists, values: Floats, n: int) -> Lists:
    """The best `n` candidates by `values`."""
    order = best_of(np.where(lists.works == PAD, -np.inf, values), n)
    works = np.take_along_axis(lists.works, np.maximum(order.works, 0), axis=1)
    return Lists(np.where(order.works == PAD, PAD, works), order.scores)


def _all_of(data: Dataset, config: RankerParams, mix: Mix, fitter: Fitter) -> Blend:
    """The blend with all sources, as the trees look at those without weight, too."""
    members = {name: fitter.fit(name, data) for name in config.blend.sources}
    return Blend(members, mix, same_work(data), readers_of(data) == 0)


def candidates_of(blend: Blend, facts: WorkFacts, part: Batch, n: int) -> tuple[Lists, Floats, Floats]:
    """Candidates of a few readers, their features, and the blend's scores of all works."""
    scores = {name: standardised(member.scores(part)) for name, member in blend.members.items()}
    total = np.zeros(part.histories.shape, dtype=np.float32)
    for name, weight in blend.mix.weights.items():
        total += np.float32(weight) * scores[name]
    total = without_history(blend.finished(total, part.histories), part.histories)
    lists = best_of(total, n)
    return lists, features(blend.members, facts, part, scores, lists), total


def learn(
    data: Dataset, config: RankerParams, options: Options, fitter: Fitter
) -> tuple[Mix, Trees | None, dict[str, Any]]:
    """Mix of the blend, the trees, and how these were chosen, all from held-out rows."""
    mix, names = Mix({}), list[str]()
    lessons: list[Taught] = []
    for inner in earlier(data, config, options.seed):
        known = asked(inner, VALID)
        if not len(known.batch):
            return Mix(dict.fromkeys(config.blend.sources, 1.0)), None, _report(None, 0, {})
        blend, facts = _all_of(inner, config, mix, fitter), WorkFacts.of(inner)
        if not lessons:
            some = sample(known, config.blend.readers, options.seed)
            mix = find_mix(blend.members, some, config.blend, inner)
            blend = replace(blend, mix=mix)
        some = sample(known, config.readers - sum(map(len, lessons)), options.seed + 1)
        lessons.append(teach(blend, facts, some, config.candidates, options.threads))
        names = names_of(blend.members, facts)
        fitter.forget(inner)
        if sum(map(len, lessons)) >= config.readers:
            break
    readers = sum(map(len, lessons))
    trees, report = grow(lessons, names, config, options, allowed(config.blend.new_cost, blend.new))
    return mix, trees, report | {"readers": readers}


def _report(objective: str | None, trees: int, found: Mapping[str, float]) -> dict[str, Any]:
    return {"objective": objective, "trees": trees, "valid_ndcg_at_20": dict(found)}


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
    lessons: list[Taught], names: list[str], config: RankerParams, options: Options, new_cost: float
) -> tuple[Trees | None, dict[str, Any]]:
    """The trees of the objective that ranks held-out readers best.

    Of every lesson the same share of readers, the last, is held out; lessons of one dataset have the same readers in
    the same order, so nobody is in both parts.
    """
    cuts = [max(1, round(len(lesson) * (1 - config.held_out_readers))) for lesson in lessons]
    learned = _together([lesson.part(0, cut).with_hits() for lesson, cut in zip(lessons, cuts, strict=True)])
    kept = _together([lesson.part(cut, len(lesson)) for lesson, cut in zip(lessons, cuts, strict=True)])
    lessons.clear()
    if not learned.read.any() or not len(kept):
        return None, _report(None, 0, {})
    train = _lgb(learned, names, config.weight_power, None)
    valid = _lgb(kept, names, 0.0, train)
    boosters = {objective: _bags(train, valid, objective, config, options) for objective in config.objectives}
    scored = {objective: Trees(bags).scores(kept.rows) for objective, bags in boosters.items()}
    found = {objective: kept.ndcg(scores) for objective, scores in scored.items()}
    best = max(found, key=lambda objective: found[objective])
    blend = kept.ndcg(-np.tile(np.arange(kept.read.shape[1], dtype=np.float32), len(kept)))
    told = _report(best, sum(booster.num_trees() for booster in boosters[best]), found | {"blend": blend})
    new = (kept.rows[:, names.index("readers")] == 0).reshape(kept.read.shape)
    bonus = new_bonus(kept, scored[best].reshape(kept.read.shape), new, config.new_steps, new_cost)
    slope, intercept, error = calibrate(scored[best], kept.read.ravel())
    return Trees(boosters[best], bonus, slope, intercept), told | {"new_bonus": bonus, "calibration_error": error}


def new_bonus(kept: Taught, scores: Floats, new: npt.NDArray[np.bool_], steps: Sequence[float], cost: float) -> float:
    """What is added to new works, as far as the cost for the others allows."""

    def others(bonus: float) -> float:
        order = np.argsort(-(scores + np.float32(bonus) * new), axis=1, kind="stable")[:, :K]
        hits = np.take_along_axis(kept.read & ~new, order, axis=1).sum(axis=1)
        return float((hits / np.maximum(kept.n_relevant, 1)).mean())

    return as_far_as(cost, steps if new.any() else steps[:1], others)


def calibrate(scores: Floats, read: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Slope and intercept of Platt's logistic function, and the calibration error on rows that it has not seen.

    The error is the mean difference of probability and share over ten bins of equally many rows (expected calibration
    error; Naeini et al. 2015), of a function fitted to the first half and tried on the second.

    Args:
        scores: of the trees, [n].
        read: whether each was read, [n].
    """
    from sklearn.linear_model import LogisticRegression

    def fitted(part: slice) -> tuple[float, float]:
        if read[part].all() or not read[part].any():
            return 1.0, 0.0
        model = LogisticRegression(C=np.inf).fit(scores[part, None].astype(np.float64), read[part])
        return float(model.coef_[0, 0]), float(model.intercept_[0])

    half = scores.size // 2
    trial = logistic(scores[half:], *fitted(slice(0, half)))
    bins = np.array_split(np.argsort(trial, kind="stable"), 10)
    seen = read[half:]
    gaps = [abs(float(trial[rows].mean()) - float(seen[rows].mean())) * rows.size for rows in bins if rows.size]
    return *fitted(slice(None)), sum(gaps) / max(seen.size, 1)


def _together(lessons: list[Taught]) -> Taught:
    return Taught(*(np.concatenate([getattr(x, name) for x in lessons]) for name in ("rows", "read", "n_relevant")))


def _lgb(taught: Taught, names: list[str], power: float, reference: lgb.Dataset | None) -> lgb.Dataset:
    readers, n = taught.read.shape
    label = taught.read.ravel().astype(np.float32)
    weight = np.repeat(taught.n_relevant.astype(np.float64) ** -power, n)
    return lgb.Dataset(
        taught.rows, label, weight=weight, group=np.full(readers, n), feature_name=names, reference=reference
    )


def _bags(
    train: lgb.Dataset, valid: lgb.Dataset, objective: Objective, config: RankerParams, options: Options
) -> tuple[lgb.Booster, ...]:
    seeds = range(options.seed, options.seed + config.bags)
    return tuple(_boost(train, valid, objective, config, options.model_copy(update={"seed": seed})) for seed in seeds)


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
