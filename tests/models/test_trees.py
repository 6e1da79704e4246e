"""Trees through LightGBM's C interface: the same numbers as its Python package gives, and words for what it refuses."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import onnx
import pytest

from bookworks.errors import BundleError, ContractError
from bookworks.models.trees import Booster, Trees
from training.trees_to_onnx import trees_to_onnx

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


def test_the_graph_takes_the_ways_of_the_trees(grown: lgb.Booster, rows: np.ndarray) -> None:
    boosters = (Booster(grown.model_to_string()), Booster(grown.model_to_string(num_iteration=5)))
    plain, graph = Trees(boosters), Trees(boosters, trees_to_onnx(boosters))
    at = thresholds(grown)
    float32 = np.concatenate([np.nextafter(at.astype(np.float32), np.float32(way)) for way in (-np.inf, 0, np.inf)])
    edges = np.repeat(np.concatenate([float32, at]).astype(np.float32)[:, None], 3, axis=1)
    odd = np.array([[np.nan] * 3, [np.inf] * 3, [-np.inf] * 3, [0.0, -0.0, np.nan]], dtype=np.float32)
    for some in (rows, edges, odd, rows[:1], rows[:0]):
        np.testing.assert_allclose(graph.scores(some), plain.scores(some), atol=2e-6)
    assert graph.scores(rows.reshape(4, 100, 3)).shape == (4, 100)
    np.testing.assert_array_equal(graph.contributions(rows), plain.contributions(rows))


def test_missing_values_go_where_the_trees_send_them() -> None:
    """With and without missing values in the lessons: without, LightGBM takes one for 0."""
    rng = np.random.default_rng(2)
    for holes in (False, True):
        rows = rng.normal(size=(500, 3)).astype(np.float32)
        if holes:
            rows[::3] = np.nan
        data = lgb.Dataset(rows, rng.random(500) < 0.5, feature_name=NAMES)
        told = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 10)
        boosters = (Booster(told.model_to_string()),)
        rows[::2, 1] = np.nan
        found = Trees(boosters, trees_to_onnx(boosters)).scores(rows)
        np.testing.assert_allclose(found, Trees(boosters).scores(rows), atol=2e-6)


def test_a_graph_that_is_not_of_these_trees_is_refused(grown: lgb.Booster, rows: np.ndarray) -> None:
    boosters, others = ((Booster(grown.model_to_string(num_iteration=n)),) for n in (20, 5))
    with pytest.raises(BundleError, match="something else"):
        Trees(boosters, trees_to_onnx(others))
    with pytest.raises(BundleError, match="cannot be loaded"):
        Trees(boosters, b"no graph")
    wide = lgb.Dataset(np.hstack([rows, rows]), rows[:, 0] > 0)
    wider = (Booster(lgb.train({"objective": "binary", "verbose": -1}, wide, 5).model_to_string()),)
    with pytest.raises(BundleError, match="refuses the features"):
        Trees(boosters, trees_to_onnx(wider))


def test_a_graph_that_goes_elsewhere_at_one_feature_is_refused(grown: lgb.Booster) -> None:
    boosters = (Booster(grown.model_to_string()),)
    for place, (name, change) in enumerate(
        [("nodes_missing_value_tracks_true", lambda value: 1 - value), ("nodes_values", lambda value: value + 0.02)]
    ):
        graph = onnx.load_from_string(trees_to_onnx(boosters))
        told = {one.name: one for one in graph.graph.node[0].attribute}
        values = told[name].floats if place else told[name].ints
        for at, feature in enumerate(told["nodes_featureids"].ints):
            if feature == 1 and told["nodes_modes"].strings[at] != b"LEAF":
                values[at] = change(values[at])
        with pytest.raises(BundleError, match="something else"):
            Trees(boosters, graph.SerializeToString())


def test_large_scores_need_not_agree_to_the_last_digit(rows: np.ndarray) -> None:
    target = 10_000 + 1000 * np.nan_to_num(rows).sum(axis=1)
    told = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(rows, target), 200)
    boosters = (Booster(told.model_to_string()),)
    graph = Trees(boosters, trees_to_onnx(boosters))
    np.testing.assert_allclose(graph.scores(rows), Trees(boosters).scores(rows), rtol=1e-5)


def test_categories_are_not_written_as_a_graph(rows: np.ndarray) -> None:
    kinds = np.random.default_rng(3).integers(0, 9, (len(rows), 1)).astype(np.float32)
    data = lgb.Dataset(kinds, kinds[:, 0] % 2, categorical_feature=[0], params={"min_data_per_group": 1})
    told = lgb.train({"objective": "binary", "verbose": -1, "min_data_in_leaf": 5}, data, 3)
    with pytest.raises(ContractError, match="==, missing"):
        trees_to_onnx((Booster(told.model_to_string()),))


def thresholds(grown: lgb.Booster) -> np.ndarray:
    """Of all nodes, float64."""
    found = grown.trees_to_dataframe()["threshold"]
    return found[found.notna()].to_numpy(dtype=np.float64)


def test_many_threads_may_ask_at_once(grown: lgb.Booster, rows: np.ndarray) -> None:
    booster = Booster(grown.model_to_string())
    for asked in (booster, Trees((booster,), trees_to_onnx((booster,)))):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, asked=asked: asked.scores(rows), range(64)))
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
