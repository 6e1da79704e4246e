"""Trees through LightGBM's C interface: the same numbers as its Python package gives, and words for what it refuses."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pytest

from bookworks.errors import BundleError
from bookworks.models.trees import Booster, Trees

NAMES = ["one", "two", "three"]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    found = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    found[::7, 1] = np.nan
    return found


@pytest.fixture(scope="module")
def grown(rows: np.ndarray) -> lgb.Booster:
    label = (rows[:, 0] + np.nan_to_num(rows[:, 1]) > 0.3).astype(np.float32)
    data = lgb.Dataset(rows, label, feature_name=NAMES)
    return lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 20)


def test_scores_and_contributions_are_those_of_the_python_package(grown: lgb.Booster, rows: np.ndarray) -> None:
    booster = Booster(grown.model_to_string())
    assert booster.names == NAMES
    assert booster.rounds == 20
    np.testing.assert_allclose(booster.scores(rows), grown.predict(rows, raw_score=True), rtol=1e-12)
    np.testing.assert_allclose(booster.contributions(rows), grown.predict(rows, pred_contrib=True), rtol=1e-9)
    assert booster.scores(rows[:0]).shape == (0,)


def test_contributions_sum_to_the_score(grown: lgb.Booster, rows: np.ndarray) -> None:
    trees = Trees((Booster(grown.model_to_string()), Booster(grown.model_to_string(num_iteration=5))))
    np.testing.assert_allclose(trees.contributions(rows).sum(axis=1), trees.scores(rows), rtol=1e-4, atol=1e-5)


def test_many_threads_may_ask_at_once(grown: lgb.Booster, rows: np.ndarray) -> None:
    booster = Booster(grown.model_to_string())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: booster.scores(rows), range(64)))
    assert all(np.array_equal(one, found[0]) for one in found)


def test_what_is_no_model_is_refused_in_words(grown: lgb.Booster, rows: np.ndarray) -> None:
    with pytest.raises(BundleError, match="no model of LightGBM"):
        Booster("forest\n")
    with pytest.raises(BundleError, match="LightGBM refuses"):
        Booster(grown.model_to_string()).scores(rows[:, :2])


@pytest.mark.parametrize("damage", [("num_leaves=", "num_laves="), ("Tree=1\n", "Treee=1\n"), ("left_child=", "left=")])
def test_a_damaged_model_is_refused_and_does_not_end_the_process(grown: lgb.Booster, damage: tuple[str, str]) -> None:
    """In a process of its own: LightGBM ends it where it reads such a text in parallel."""
    code = """
import sys
from bookworks.errors import BundleError
from bookworks.models.trees import Booster
try:
    print("read", Booster(sys.stdin.read()).rounds)
except BundleError as error:
    print("refused", error)
"""
    text = grown.model_to_string().replace(*damage)
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused LightGBM refuses" if damage[0] != "Tree=1\n" else ("read", "refused"))
