"""Trees as they serve: the same numbers as LightGBM's Python package gives, and words for what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pytest

from bookworks.errors import BundleError
from bookworks.models import forest
from bookworks.models.forest import MAX_LEAVES, Forest
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


def of_lightgbm(boosters: tuple[Booster, ...], rows: np.ndarray) -> np.ndarray:
    return np.mean([booster.scores(rows) for booster in boosters], axis=0)


def test_every_row_takes_the_way_that_lightgbm_takes(grown: lgb.Booster, rows: np.ndarray) -> None:
    boosters = (Booster(grown.model_to_string()), Booster(grown.model_to_string(num_iteration=5)))
    trees, at = Trees(boosters), thresholds(grown)
    float32 = np.concatenate([np.nextafter(at.astype(np.float32), np.float32(way)) for way in (-np.inf, 0, np.inf)])
    edges = np.repeat(np.concatenate([float32, at]).astype(np.float32)[:, None], 3, axis=1)
    odd = np.array([[np.nan] * 3, [np.inf] * 3, [-np.inf] * 3, [0.0, -0.0, np.nan]], dtype=np.float32)
    for some in (rows, edges, odd, rows[:1], rows[:0], rows[:255], rows[:257], rows[::2], np.asfortranarray(rows)):
        np.testing.assert_allclose(trees.scores(some), of_lightgbm(boosters, some), atol=2e-6)
    assert trees.scores(rows).dtype == np.float32
    np.testing.assert_array_equal(trees.scores(rows.reshape(4, 100, 3)).ravel(), trees.scores(rows))
    with pytest.raises(BundleError, match="not the features of the trees"):
        trees.scores(rows[:, :2])


@pytest.mark.parametrize("leaves", [2, 31, MAX_LEAVES])
@pytest.mark.parametrize("holes", [False, True])
def test_missing_values_go_where_the_trees_send_them(leaves: int, holes: bool) -> None:
    """With and without missing values in the lessons: without, LightGBM takes one for 0."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(5000, 3)).astype(np.float32)
    if holes:
        rows[::3] = np.nan
    data = lgb.Dataset(rows, rng.random(5000) < 0.5, feature_name=NAMES)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": leaves}
    told = lgb.train(settings, data, 10)
    assert max(tree["num_leaves"] for tree in told.dump_model()["tree_info"]) == leaves
    boosters = (Booster(told.model_to_string()),)
    rows[::2, 1] = np.nan
    np.testing.assert_allclose(Trees(boosters).scores(rows), of_lightgbm(boosters, rows), atol=2e-6)


def test_a_ranker_without_trees_is_refused() -> None:
    with pytest.raises(BundleError, match="no booster"):
        Trees(())


def test_trees_without_a_question_have_one_value(rows: np.ndarray) -> None:
    told = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(rows, np.full(len(rows), 3.0)), 2)
    assert Trees((Booster(told.model_to_string()),)).scores(rows[:2]).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("threshold", lambda values: [f"{float(values[0]) + 0.02!r}", *values[1:]]),
        ("decision_type", lambda values: [str(int(value) ^ 2) for value in values]),
        ("leaf_value", lambda values: [*values[1:], values[0]]),
    ],
)
def test_trees_that_are_read_otherwise_than_by_lightgbm_are_refused(
    grown: lgb.Booster, line: str, change: Callable[[list[str]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = forest._told

    def misread(text: str) -> list[dict[str, str]]:
        return [lines | {line: " ".join(change(lines[line].split()))} for lines in told(text)]

    monkeypatch.setattr(forest, "_told", misread)
    with pytest.raises(BundleError, match="something else than LightGBM"):
        Trees((Booster(grown.model_to_string()),))


def test_large_scores_need_not_agree_to_the_last_digit(rows: np.ndarray) -> None:
    target = 10_000 + 1000 * np.nan_to_num(rows).sum(axis=1)
    told = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(rows, target), 200)
    boosters = (Booster(told.model_to_string()),)
    np.testing.assert_allclose(Trees(boosters).scores(rows), of_lightgbm(boosters, rows), rtol=1e-5)


def test_trees_of_another_kind_are_refused(rows: np.ndarray) -> None:
    kinds = np.random.default_rng(3).integers(0, 9, (len(rows), 1)).astype(np.float32)
    data = lgb.Dataset(kinds, kinds[:, 0] % 2, categorical_feature=[0], params={"min_data_per_group": 1})
    told = lgb.train({"objective": "binary", "verbose": -1, "min_data_in_leaf": 5}, data, 3)
    with pytest.raises(BundleError, match="decision_type=1"):
        Trees((Booster(told.model_to_string()),))
    label = rows[:, 0] + np.sin(9 * rows[:, 2])
    many = {"objective": "regression", "verbose": -1, "num_leaves": MAX_LEAVES + 1, "min_data_in_leaf": 1}
    told = lgb.train(many, lgb.Dataset(rows, label), 1)
    with pytest.raises(BundleError, match=f"{MAX_LEAVES + 1} leaves"):
        Trees((Booster(told.model_to_string()),))
    linear = {"objective": "regression", "verbose": -1, "linear_tree": True}
    told = lgb.train(linear, lgb.Dataset(rows, label, params={"linear_tree": True}), 1)
    with pytest.raises(BundleError, match="is_linear=1"):
        Trees((Booster(told.model_to_string()),))


@pytest.mark.parametrize(
    "change",
    [{"left_child": "0 -1"}, {"left_child": "5 -1"}, {"split_feature": "0 9"}, {"split_feature": "0 -1"},
     {"threshold": "0.5"}, {"leaf_value": "1 2"}, {"right_child": "-2 -2"}, {"left_child": "one -1"}],
)  # fmt: skip
def test_a_tree_that_hangs_together_badly_is_refused(change: dict[str, str]) -> None:
    told = {"leaf_value": "1 2 3", "split_feature": "0 1", "threshold": "0.5 0.5", "decision_type": "2 2",
            "left_child": "1 -1", "right_child": "-3 -2"}  # fmt: skip
    text = "tree\n\nTree=0\n{}\n\nend of trees\n"

    def written(lines: dict[str, str]) -> str:
        return text.format("\n".join(f"{name}={value}" for name, value in lines.items()))

    read = Forest.of([written(told)], 2)
    rows = np.array([[0.5, 0.5], [0.5, 0.6], [0.6, 0.0]], dtype=np.float32)
    assert read.scores(rows).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(BundleError, match="cannot be read"):
        Forest.of([written(told | change)], 2)


def thresholds(grown: lgb.Booster) -> np.ndarray:
    """Of all nodes, float64."""
    found = grown.trees_to_dataframe()["threshold"]
    return found[found.notna()].to_numpy(dtype=np.float64)


def test_many_threads_may_ask_at_once(grown: lgb.Booster, rows: np.ndarray) -> None:
    booster = Booster(grown.model_to_string())
    for asked in (booster, Trees((booster,))):
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
