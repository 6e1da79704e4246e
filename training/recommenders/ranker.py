"""Gradient-boosted trees over the candidates of all sources.

The sources are fitted to earlier rows, the trees learn which of their candidates were read later, then the sources are
fitted again to all rows and the trees kept. So no source has seen what the trees learn from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.metrics.ranking import PAD, find_hits
from bookworks.models import bundle_files
from bookworks.models.ranker_features import Histories, features, names_of
from bookworks.models.trees import Explained, Trees
from bookworks.models.work_facts import WorkFacts
from training.dataset import VALID, Dataset
from training.kernels import standardised
from training.params import Options
from training.recommenders.all import Fitter
from training.recommenders.base import (
    Batch,
    Floats,
    Lists,
    Recommender,
    best_of,
    joined,
    read_values,
    side_by_side,
    without_history,
    write_values,
)
from training.recommenders.blend import (
    Asked,
    Blend,
    BlendParams,
    Mix,
    find_mix,
    held_out_of,
    later,
    same_work,
    sample,
)
from training.recommenders.content import readers_of
from training.recommenders.nearness import near_of, nearest_to
from training.recommenders.new_works import allowed, others_of
from training.recommenders.trees import Taught, TreesParams, grow, untaught
from training.split_files import hold_out
from training.work_facts import facts_of

PART = 64  # readers whose scores by all sources are in memory at a time, 6 MB a source of 25,000 works


class RankerParams(TreesParams):
    """Config of `ranker`."""

    blend: BlendParams = BlendParams()
    folds: int = Field(5, ge=1, description="At most so many times other rows are held out …")
    readers: int = Field(45_000, ge=2, description="… until so many readers teach the trees.")


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
        return cls(_all_of(full, config, mix, fitter), facts_of(full), trees, config.candidates, report)

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
        return self.trees.scores(rows) + np.float32(self.trees.new_bonus) * self.blend.new[lists.works]

    def explained(self, batch: Batch, n: int) -> list[list[Explained]]:
        """Of each of the best `n` works of each reader its probability, and what every feature adds to its score."""
        told: list[list[Explained]] = []
        if self.trees is None:
            return [[] for _ in range(len(batch))]
        for part in batch.parts(PART):
            lists, rows, _ = candidates_of(self.blend, self.facts, part, self.candidates)
            for reader, works in enumerate(_first(lists, self._values(lists, rows), n).works):
                place = [int(np.flatnonzero(lists.works[reader] == work)[0]) for work in works if work != PAD]
                told.append(self.trees.explained(rows[reader, place], self.blend.new[works[works != PAD]]))
        return told

    def save(self, folder: Path) -> None:
        """Write the trees, the facts and the blend."""
        self.blend.save(folder / "blend")
        self.facts.save(folder / "facts.npz")
        bundle_files.write_ranker(folder, bundle_files.Ranker(self.trees, self.candidates) if self.trees else None)
        write_values(folder / "report.json", {"candidates": self.candidates, "report": self.report})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        told = read_values(folder / "report.json")
        ranker, facts = bundle_files.read_ranker(folder), WorkFacts.load(folder / "facts.npz")
        trees = ranker.trees if ranker else None
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


def candidates_of(
    blend: Blend, facts: WorkFacts, part: Batch, n: int, untried: npt.NDArray[np.bool_] | None = None
) -> tuple[Lists, Floats, Floats]:
    """Candidates of a few readers, their features, and the blend's scores of all works; no candidate is `untried`."""
    total, scores = np.zeros(part.histories.shape, dtype=np.float32), dict[str, Floats]()
    for name, member in blend.members.items():
        scores[name] = standardised(member.scores(part), total, blend.mix.weights.get(name, 0.0))
    total = without_history(blend.finished(total, part.histories), part.histories)
    if untried is not None:
        total[:, untried] = -np.inf
    lists = best_of(total, n)
    works = np.maximum(lists.works, 0)  # a padded place has the features of work 0
    rows = np.arange(len(part))[:, None]
    own = {name: values[rows, works] for name, values in scores.items()}
    blended = np.where(np.isfinite(lists.scores), lists.scores, 0.0)
    near = {name: nearest_to(part.histories, values, lists.works) for name, values in near_of(blend.members).items()}
    read = Histories(part.histories.indptr, part.histories.indices)
    return lists, features(own, blended, near, facts, read, works), total


def feature_names(members: Mapping[str, Recommender], facts: WorkFacts) -> list[str]:
    """Of the features of a candidate."""
    return names_of(members, near_of(members), facts)


def learn(
    data: Dataset, config: RankerParams, options: Options, fitter: Fitter
) -> tuple[Mix, Trees | None, dict[str, Any]]:
    """Mix of the blend, the trees, and how these were chosen, all from held-out rows."""
    mix, names = Mix({}), list[str]()
    lessons: list[Taught] = []
    for inner in earlier(data, config, options.seed):
        known = held_out_of(data, inner)
        if not len(known.batch):
            return Mix(dict.fromkeys(config.blend.sources, 1.0)), None, untaught()
        blend, facts = _all_of(inner, config, mix, fitter), facts_of(inner)
        if not lessons:
            some = sample(known, config.blend.readers, options.seed)
            mix = find_mix(blend.members, some, config.blend, inner)
            blend = replace(blend, mix=mix)
        some = sample(known, config.readers - sum(map(len, lessons)), options.seed + 1)
        lessons.append(teach(blend, facts, some, config.candidates, options.threads))
        names = feature_names(blend.members, facts)
        fitter.forget(inner)
        if sum(map(len, lessons)) >= config.readers:
            break
    readers = sum(map(len, lessons))
    new_cost = allowed(config.blend.new_cost, blend.new[~known.untried])
    trees, report = grow(lessons, names, config, options, new_cost)
    return mix, trees, report | {"readers": readers}


def earlier(data: Dataset, config: RankerParams, seed: int) -> Iterator[Dataset]:
    """The dataset with a part `valid`: its own, or several times another share of each reader's training rows."""
    if data.rows(VALID).num_rows:
        return iter([data])
    return (hold_out(data, config.blend.held_out, seed + fold) for fold in range(config.folds))


def teach(blend: Blend, facts: WorkFacts, known: Asked, n: int, threads: int) -> Taught:
    """Candidates of all readers with their features, and whether each was read later."""

    def work(part: tuple[Batch, list[list[int]]]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        lists, rows, _ = candidates_of(blend, facts, part[0], n, known.untried)
        return rows.reshape(-1, rows.shape[2]), find_hits(lists.works, part[1], part[0].histories.shape[1])

    parts = side_by_side(work, _parts(known), threads)
    rows, read = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    rated = known.n_relevant + np.diff(known.batch.histories.indptr)
    return Taught(rows, read, known.n_relevant, others_of(known.relevant, blend.new), rated, known.readers)


def _parts(known: Asked) -> Iterator[tuple[Batch, list[list[int]]]]:
    for i, part in enumerate(known.batch.parts(PART)):
        yield part, known.relevant[i * PART : (i + 1) * PART]
