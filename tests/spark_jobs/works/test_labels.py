"""Answers of the review become labels of the scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from bookworks.errors import ContractError, SettingError
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.labels import read_labels, write_labels
from spark_jobs.works.nodes import parse
from spark_jobs.works.records import FIELDS
from spark_jobs.works.scorer import letters, rarity
from spark_jobs.works.train_scorer import ANSWER, FOLDS, Examples, answers, calibration, fit

CATALOGUE = {
    "e1": ("Dune", "Frank Herbert"), "e2": ("Dune, der Wüstenplanet", "Frank Herbert"), "e3": ("DUNE", "Frank Herbert"),
    "e4": ("Emma", "Jane Austen"), "e5": ("Emma and Knightley", "Jane Austen"),
}  # fmt: skip


def world(values: np.ndarray, same: np.ndarray, names: list[str]) -> Examples:
    """Pairs without a catalogue, all of one fold."""
    n, ids = len(same), np.array([""] * len(same), object)
    weight = np.full(n, 1 / n, np.float32)
    return Examples(names, ids, ids, values, same, weight, np.zeros((2, n), int), None, None)  # type: ignore[arg-type]


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = [("a", "b", True), ("c", 'd"e', False)]
    write_labels(found, tmp_path / "labels.csv")
    assert read_labels(tmp_path / "labels.csv") == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("left_id,right_id\na,b\n", "Columns are missing in l.csv: same"),
        ("left_id,right_id,same\na,b,yes\n", "neither"),
    ],
)
def test_what_is_no_file_of_labels_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(ContractError, match=told):
        read_labels(tmp_path / "l.csv")
    with pytest.raises(SettingError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.csv")


def test_an_answer_becomes_a_weighty_pair_of_the_training_and_moves_the_model(spark: SparkSession) -> None:
    rows = [tuple({"edition_id": e, "title": t, "author": a}.get(name) for name in FIELDS)
            for e, (t, a) in CATALOGUE.items()]  # fmt: skip
    parsed = parse(spark.createDataFrame(rows, ", ".join(f"{name} string" for name in FIELDS)), MatchConfig())
    rng, tables = np.random.default_rng(0), (rarity(), letters())
    said = [("e1", "e2", True), ("e1", "e3", True), ("e4", "e5", True), ("e5", "e4", False), ("e1", "gone", True)]
    names = answers(parsed, said, MatchConfig(), tables, [world(np.empty((9, 0)), np.zeros(9, bool), [])]).names
    values, same = rng.random((2_000, len(names))).astype(np.float32), rng.random(2_000) < 0.1
    big = world(values, same, names)

    found = answers(parsed, said, MatchConfig(), tables, [big])
    pairs = {tuple(sorted(pair)): bool(one) for *pair, one in zip(found.a, found.b, found.same, strict=True)}
    # e1 and e3 are of one spelling; the later answer about e4 and e5 holds.
    assert pairs == {("e1", "e2"): True, ("e4", "e5"): False}
    assert found.weight.tolist() == pytest.approx([ANSWER / 2_000] * 2)
    assert found.values[:, names.index("main_equal")].tolist() == [0, 0]
    assert set(found.fold.ravel().tolist()) <= set(range(FOLDS))
    many = answers(parsed, said, MatchConfig(), tables, [world(values[:5], same[:5], names)])
    assert many.weight.sum() == pytest.approx(1)  # never more than a world

    without, with_answers = (fit(worlds, None).predict(found.values) for worlds in ([big], [big, found]))
    order = list(pairs.values())
    assert with_answers[order.index(True)] > without[order.index(True)]
    with pytest.raises(ContractError, match="No label is of use"):
        answers(parsed, [("e1", "gone", True)], MatchConfig(), tables, [big])


def test_calibration_tells_how_far_what_is_promised_is_from_what_holds() -> None:
    p = np.repeat([0.05, 0.95, 1.0], [100, 50, 50]).astype(np.float32)
    same = np.concatenate([np.arange(100) < 25, np.ones(100, bool)])  # of the first, five times as many as promised
    found = calibration(same, p)
    assert found["error"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.025)
    assert [tenth["pairs"] for tenth in found["tenths"]] == [100, *[0] * 8, 100]
    assert found["tenths"][0] == {"pairs": 100, "predicted": 0.05, "same": 0.25}
