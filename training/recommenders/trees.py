"""How the trees of a ranker are grown, and what is found out about them on readers that taught them nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.metrics.ranking import Values, ndcg_at
from bookworks.models.forest import MAX_LEAVES
from bookworks.models.trees import Booster, Trees, logistic
from training.params import Options, Params
from training.recommenders.base import Floats
from training.recommenders.new_works import K, as_far_as

Objective = Literal["binary", "lambdarank"]
Rows = npt.NDArray[np.int64]


class TreesParams(Params):
    """Candidates, and how their order is learned."""

    candidates: int = Field(150, ge=1, description="Of each reader, the first of the blend.")
    objectives: tuple[Objective, ...] = ("binary", "lambdarank")
    leaves: int = Field(15, ge=2, le=MAX_LEAVES)
    trees: int = Field(300, ge=1)
    bags: int = Field(3, ge=1, description="Boosters of other draws of rows and features, whose scores are averaged.")
    learning_rate: float = Field(0.1, gt=0)
    min_rows: int = Field(200, ge=1, description="Rows of a leaf.")
    weight_power: float = Field(0.0, ge=0, le=1, description="A reader of n ratings weighs n to minus this.")
    held_out_readers: float = Field(0.1, gt=0, lt=1, description="Share that chooses objective and number of trees …")
    turns: int = Field(1, ge=1, description="… and so many times another share, each ranked by trees of the others.")
    surely: float = Field(0.0, ge=0, description="Standard errors by which trees must rank better than the blend.")
    new_steps: tuple[float, ...] = Field(
        (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0), description="Added to new works."
    )
    patience: int = Field(100, ge=1, description="Rounds without a better value before it stops.")


OF_READERS = ("read", "n_relevant", "n_others", "n_rated", "readers")


@dataclass(frozen=True)
class Taught:
    """What the trees learn from.

    Attributes:
        rows: features, float32 [n_readers * n_candidates, n_features], a reader's candidates one after the other.
        read: whether each was read, bool [n_readers, n_candidates].
        n_relevant: held-out works of each reader, also those that are no candidates, [n_readers].
        n_others: those of them that are no new works, [n_readers].
        n_rated: works that the reader has rated in all, the held-out ones among them, [n_readers].
        readers: who each is; one may be there several times, [n_readers].
    """

    rows: Floats
    read: npt.NDArray[np.bool_]
    n_relevant: npt.NDArray[np.int64]
    n_others: npt.NDArray[np.int64]
    n_rated: npt.NDArray[np.int64]
    readers: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Readers."""
        return len(self.read)

    def ndcg(self, values: Floats) -> Values:
        """NDCG@20 of each reader's candidates in the order of `values`, [n_readers * n_candidates]."""
        order = np.argsort(-values.reshape(self.read.shape), axis=1, kind="stable")[:, :K]
        return ndcg_at(np.take_along_axis(self.read, order, axis=1), self.n_relevant, K)

    def some(self, readers: npt.NDArray[np.bool_]) -> Taught:
        """These readers alone."""
        part = (getattr(self, name)[readers] for name in OF_READERS)
        return Taught(self.rows[self.rows_of(readers)], *part)

    def first_half(self) -> npt.NDArray[np.bool_]:
        """Marks the rows of every second reader, each with all its lessons."""
        _, place = np.unique(self.readers, return_inverse=True)
        return np.repeat(place % 2 == 0, self.read.shape[1])

    def rows_of(self, readers: npt.NDArray[np.bool_]) -> Rows:
        """Places of these readers' candidates among `rows`."""
        return np.flatnonzero(np.repeat(readers, self.read.shape[1]))


def untaught() -> dict[str, Any]:
    """The report where nothing was there to learn from."""
    return _report(None, {})


def _report(objective: str | None, found: Mapping[str, float]) -> dict[str, Any]:
    return {"objective": objective, "trees": 0, "valid_ndcg_at_20": dict(found)}


def grow(
    lessons: list[Taught], names: list[str], config: TreesParams, options: Options, new_cost: float
) -> tuple[Trees | None, dict[str, Any]]:
    """The trees of the objective that ranks held-out readers best; none where the blend ranks them as well.

    Objective and number of trees are chosen on readers that did not teach the trees that rank them; then all teach.
    A reader is held out of every lesson at once. The list of lessons is emptied, as they fill the memory.
    """
    if not lessons:
        return None, untaught()
    taught = _together(lessons)
    lessons.clear()
    turn = _turns(taught.readers, config)
    hit = taught.read.any(axis=1)  # the others teach no order
    held = [turn == number for number in range(config.turns) if (turn == number).any()]
    if not held or not all((hit & ~out).any() for out in held):
        return None, untaught()
    folds = [(taught.rows_of(hit & ~out), taught.rows_of(out)) for out in held]
    data = _lgb(taught, names, config.weight_power)
    tried = {name: _cross(data, taught, folds, _settings(name, config, options), config) for name in config.objectives}
    kept = taught.some(turn >= 0)
    scores = {name: trial.scores[taught.rows_of(turn >= 0)] for name, trial in tried.items()}
    best, told = _compared(kept, scores, config)
    if best is None:
        return None, told
    rounds, part = tried[best].rounds, data.subset(taught.rows_of(hit))
    bags = tuple(_boost(part, _settings(best, config, options, bag), rounds) for bag in range(config.bags))
    new = (kept.rows[:, names.index("readers")] == 0).reshape(kept.read.shape)
    bonus = new_bonus(kept, scores[best].reshape(kept.read.shape), new, config.new_steps, new_cost)
    slope, intercept, error = calibrate(scores[best], kept.read.ravel(), kept.first_half())
    found = {"trees": rounds * config.bags, "new_bonus": bonus, "calibration_error": error}
    found["share_read"] = float(kept.read.mean())
    trees = Trees(bags, new_bonus=bonus, slope=slope, intercept=intercept)
    return trees, told | found


def _turns(readers: npt.NDArray[np.int64], config: TreesParams) -> npt.NDArray[np.int64]:
    """In which turn each reader is held out, the last first; -1: in none."""
    who, place = np.unique(readers, return_inverse=True)
    turn = np.floor((1 - (place + 0.5) / max(who.size, 1)) / config.held_out_readers).astype(np.int64)
    return np.where(turn < config.turns, turn, -1)


def _compared(
    kept: Taught, scores: Mapping[Objective, Floats], config: TreesParams
) -> tuple[Objective | None, dict[str, Any]]:
    """The objective that ranks best, None where the blend ranks about as well, and the report."""
    found = {name: kept.ndcg(values) for name, values in scores.items()}
    blend = kept.ndcg(-np.tile(np.arange(kept.read.shape[1], dtype=np.float32), len(kept)))
    best = max(found, key=lambda name: float(found[name].mean()))
    _, place = np.unique(kept.readers, return_inverse=True)  # a reader's lessons are no independent trials
    gain = np.bincount(place, found[best] - blend) / np.bincount(place)
    surely = gain.mean() > config.surely * gain.std() / np.sqrt(gain.size)
    means = {name: float(values.mean()) for name, values in (found | {"blend": blend}).items()}
    return best if surely else None, _report(best if surely else None, means)


class _Trial(NamedTuple):
    """How many trees rank held-out readers best, and the scores of these readers' candidates; 0 for the others."""

    rounds: int
    scores: Floats


def _cross(
    data: lgb.Dataset, taught: Taught, folds: list[tuple[Rows, Rows]], settings: dict[str, Any], config: TreesParams
) -> _Trial:
    stop = lgb.early_stopping(config.patience, verbose=False)
    found = lgb.cv(settings, data, config.trees, folds=folds, callbacks=[stop], return_cvbooster=True)["cvbooster"]
    scores = np.zeros(len(taught.rows), dtype=np.float32)
    for booster, (_, rows) in zip(found.boosters, folds, strict=True):
        model = Booster(booster.model_to_string(num_iteration=found.best_iteration))
        scores[rows] = model.scores(taught.rows[rows], settings["num_threads"])
    return _Trial(found.best_iteration, scores)


def new_bonus(kept: Taught, scores: Floats, new: npt.NDArray[np.bool_], steps: Sequence[float], cost: float) -> float:
    """What is added to new works, as far as the cost for the others allows, against lists without new works."""

    wanted = kept.n_others > 0
    _, reader = np.unique(kept.readers[wanted], return_inverse=True)  # a reader's lessons are no independent trials

    def others(bonus: float) -> Values:
        order = np.argsort(-np.where(new, scores + np.float32(bonus), scores), axis=1, kind="stable")[:, :K]
        hits = np.take_along_axis(kept.read & ~new, order, axis=1).sum(axis=1)
        return np.bincount(reader, hits[wanted] / kept.n_others[wanted]) / np.bincount(reader)

    return as_far_as(cost, steps if new.any() else steps[:1], others, others(-np.inf))


def calibrate(scores: Floats, read: npt.NDArray[np.bool_], first: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Slope and intercept of Platt's logistic function, and the calibration error on readers that it has not seen.

    The error is the mean difference of probability and share over ten bins of equally many rows (expected calibration
    error; Naeini et al. 2015), of a function fitted to the rows of `first` and tried on the others.

    Args:
        scores: of the trees, [n].
        read: whether each was read, [n].
        first: rows of one half of the readers, [n].
    """
    from sklearn.linear_model import LogisticRegression

    def fitted(part: npt.NDArray[np.bool_]) -> tuple[float, float]:
        if read[part].all() or not read[part].any():
            return 1.0, 0.0
        model = LogisticRegression(C=np.inf).fit(scores[part, None].astype(np.float64), read[part])
        return float(model.coef_[0, 0]), float(model.intercept_[0])

    trial, seen = logistic(scores[~first], *fitted(first)), read[~first]
    bins = np.array_split(np.argsort(trial, kind="stable"), 10)
    gaps = [abs(float(trial[rows].mean()) - float(seen[rows].mean())) * rows.size for rows in bins if rows.size]
    return *fitted(np.ones_like(first)), sum(gaps) / max(seen.size, 1)


def _together(lessons: list[Taught]) -> Taught:
    return Taught(*(np.concatenate([getattr(lesson, name) for lesson in lessons]) for name in ("rows", *OF_READERS)))


def _lgb(taught: Taught, names: list[str], power: float) -> lgb.Dataset:
    readers, n = taught.read.shape
    label = taught.read.ravel().astype(np.float32)
    weight = np.repeat(taught.n_rated.astype(np.float64) ** -power, n)
    return lgb.Dataset(taught.rows, label, weight=weight, group=np.full(readers, n), feature_name=names)


def _settings(objective: Objective, config: TreesParams, options: Options, bag: int = 0) -> dict[str, Any]:
    return {
        "objective": objective, "num_leaves": config.leaves, "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_rows, "metric": "ndcg", "eval_at": [K], "seed": options.seed + bag,
        "num_threads": options.threads, "deterministic": True, "force_row_wise": True, "verbose": -1,
        "lambdarank_truncation_level": 2 * K, "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
    }  # fmt: skip


def _boost(data: lgb.Dataset, settings: dict[str, Any], rounds: int) -> Booster:
    return Booster(lgb.train(settings, data, rounds).model_to_string())
