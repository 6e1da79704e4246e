"""The pair scorer: a LightGBM model trained by `spark_jobs.works.train_scorer`, kept beside this file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt

from bookworks.errors import TerminalError
from spark_jobs.works.pairs import Floats, Nodes, features

FOLDER = Path(__file__).parent / "scorer"
MODEL, RARITY, LETTERS = FOLDER / "model.txt", FOLDER / "rarity.npy", FOLDER / "letters.npy"

Ints = npt.NDArray[np.int64]


@lru_cache(maxsize=1)
def booster() -> lightgbm.Booster:
    """The model, once a process."""
    return lightgbm.Booster(model_file=str(MODEL))


@lru_cache(maxsize=1)
def rarity() -> Floats:
    """How much a shared word tells, shape (2^16,)."""
    table: Floats = np.load(RARITY).astype(np.float32)
    return table


@lru_cache(maxsize=1)
def letters() -> Floats:
    """What letters tell of languages, from `languages.language_table`."""
    table: Floats = np.load(LETTERS).astype(np.float32)
    return table


def score(nodes: Nodes, a: Ints, b: Ints) -> Floats:
    """Probability that the nodes `a[k]` and `b[k]` are one work.

    Raises:
        TerminalError: model and features are of different versions.
    """
    names, values = features(nodes, a, b)
    if names != booster().feature_name():
        raise TerminalError("The scorer does not fit this code", received=booster().num_feature(), allowed=len(names),
                            todo="train it again: python -m spark_jobs.works.train_scorer")  # fmt: skip
    if not len(a):
        return np.empty(0, np.float32)
    p: Floats = booster().predict(values, num_threads=nodes.threads).astype(np.float32)
    return p
