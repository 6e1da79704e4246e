"""Floors of the gate: simple models, ranked for the test readers.

They see what the bundle's sources see: the parts `train` and `valid` of all readers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bookworks.metrics.ranking import Ranked
from training.dataset import Dataset
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
    known = data.known()
    fitter = Fitter(options, params.floors | {POPULARITY: popularity})
    lists = {RANDOM: random_lists(tests, params.k, options.seed)}
    for name in (POPULARITY, *params.floors):
        if name != EASE or data.n_works <= params.max_ease_works:
            lists[name] = fitter.fit(name, known).recommend(tests.batch, params.k, options.threads).works
            fitter.drop(name, known)
    return lists


class Honest(NamedTuple):
    """Lists of item-kNN, which has seen no more than a bundle may.

    Attributes:
        valid: for validation readers, of a model that learned from the part `train` alone.
        test: the same model's for test readers.
        refit: for test readers, of a model that learned from the parts `train` and `valid`.
    """

    valid: Ranked
    test: Ranked
    refit: Ranked


def rank_honest(data: Dataset, valid: HeldOut, tests: HeldOut, params: GateParams, options: Options) -> Honest:
    """What an honest model ranks before its last fit and after it."""

    def lists(rows: Dataset, *parts: HeldOut) -> list[Ranked]:
        model = Fitter(options, params.floors).fit(HONEST, rows)
        return [model.recommend(part.batch, params.k, options.threads).works for part in parts]

    return Honest(*lists(data, valid, tests), *lists(data.known(), tests))


def random_lists(tests: HeldOut, k: int, seed: int) -> Ranked:
    """A random list for each reader, without the history."""
    rng = np.random.default_rng(seed)
    lists = np.full((len(tests), k), -1, dtype=np.int64)
    for row, state in enumerate(tests.states):
        drawn = rng.permutation(tests.n_works)[: k + len(state.history)]
        kept = drawn[~np.isin(drawn, state.history)][:k]
        lists[row, : kept.size] = kept
    return lists
