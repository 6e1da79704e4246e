"""Floors of the gate: simple models, ranked for the test readers.

Learned floors see what the bundle's models see: the part `train` to learn from, `valid` too as history. Popularity is
counted over both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bookworks.metrics.ranking import Ranked
from training.dataset import TRAIN, VALID, Dataset
from training.held_out import HeldOut
from training.params import Options
from training.recommenders.all import Fitter
from training.verdict import GateParams

RANDOM, POPULARITY, EASE, HONEST = "random", "popularity", "ease", "item_knn"


def rank_floors(
    data: Dataset, tests: HeldOut, params: GateParams, options: Options, popularity: dict[str, Any]
) -> dict[str, Ranked]:
    """The first `k` works of random, popularity and each learned floor; of EASE only for a catalogue that it can hold.

    Args:
        data: the run's split.
        tests: who is ranked for.
        params: of the gate.
        options: seed and threads.
        popularity: config of the popularity lists, as the run has it.
    """
    known = all_known(data)
    fitter = Fitter(options, params.floors | {POPULARITY: popularity})
    lists = {RANDOM: random_lists(tests, params.k, options.seed)}
    for name in (POPULARITY, *params.floors):
        if name != EASE or data.n_works <= params.max_ease_works:
            rows = known if name == POPULARITY else data
            lists[name] = fitter.fit(name, rows).recommend(tests.batch, params.k, options.threads).works
            fitter.drop(name, rows)
    return lists


def rank_honest(
    data: Dataset, valid: HeldOut, tests: HeldOut, params: GateParams, options: Options
) -> tuple[Ranked, Ranked]:
    """Lists for validation and test readers of item-kNN that learned from the part `train` alone, as a bundle does."""
    model = Fitter(options, params.floors).fit(HONEST, data)
    on_valid, on_test = (model.recommend(part.batch, params.k, options.threads).works for part in (valid, tests))
    return on_valid, on_test


def all_known(data: Dataset) -> Dataset:
    """Training and validation rows of all readers as training rows."""
    return replace(data.merged(VALID, TRAIN), n_trained=data.n_readers)


def random_lists(tests: HeldOut, k: int, seed: int) -> Ranked:
    """A random list for each reader, without the history."""
    rng = np.random.default_rng(seed)
    lists = np.full((len(tests), k), -1, dtype=np.int64)
    for row, state in enumerate(tests.states):
        drawn = rng.permutation(tests.n_works)[: k + len(state.history)]
        kept = drawn[~np.isin(drawn, state.history)][:k]
        lists[row, : kept.size] = kept
    return lists
