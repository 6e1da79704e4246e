"""What changed from one bundle to another, and for whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from bookworks.models.bundle import Blend, Bundle
from bookworks.settings import Settings
from tests.support.bundles import TIERS, make_tiny_bundle
from tests.support.cases import make_case, make_split
from training import comparing, models_cli
from training.dataset import TRAIN
from training.judge import Case
from training.split import save_dataset
from training.verdict import GateParams


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(GateParams())


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("old"), 60, n_readers=80))


@pytest.fixture(scope="module")
def popular(old: Bundle) -> Bundle:
    return old.with_blend(Blend({tier: {"popularity": 1.0} for tier in TIERS}, old.blend.history_share))


def test_a_bundle_beside_itself_changes_nothing(old: Bundle, case: Case) -> None:
    found = comparing.compare(old, old, old, case.tests, 10)
    assert (found["better"], found["worse"], found["same"]) == (0, 0, 80)
    assert found["overlap"] == 1.0
    assert found["exposure"] == {"gained": [], "lost": []}
    assert found["slices"][0] == {
        "slice": "all", "readers": 80, "first": found["slices"][0]["second"], "second": found["slices"][0]["first"],
        "difference": {"value": 0.0, "low": 0.0, "high": 0.0},
    }  # fmt: skip


def test_who_gains_and_which_works_are_shown_more(old: Bundle, popular: Bundle, case: Case) -> None:
    found = comparing.compare(popular, old, old, case.tests, 10)
    assert found["better"] > found["worse"]
    assert found["better"] + found["worse"] + found["same"] == len(case.tests)
    assert [row["slice"] for row in found["slices"]] == ["all", "warm", "history of 6 to 10"]
    assert found["slices"][0]["difference"]["low"] > 0
    assert 0 < found["overlap"] < 0.5
    gained, lost = found["exposure"]["gained"][0], found["exposure"]["lost"][0]
    assert gained["second"] > gained["first"]
    assert lost["second"] < lost["first"]
    assert lost["title"].startswith("Title ")
    turned = comparing.compare(old, popular, old, case.tests, 10)
    assert turned["exposure"]["lost"][0]["work_id"] == gained["work_id"]
    assert turned["worse"] == found["better"]


def test_works_that_one_bundle_lacks_are_missed_by_it(old: Bundle, case: Case, tmp_path: Path) -> None:
    smaller = Bundle.load(make_tiny_bundle(tmp_path, 30, n_readers=80))
    found = comparing.compare(smaller, old, old, case.tests, 10)
    assert found["slices"][0]["difference"]["low"] > 0
    assert all(row["first"] == 0 for row in found["exposure"]["gained"] if row["work_id"] >= "w030")


@pytest.fixture
def registered(tmp_path: Path) -> tuple[Settings, list[dict[str, str]]]:
    """Two bundles in the cache; the workspaces of their runs, the newer with its split."""
    ratings = make_split(80, 60).matrix(TRAIN)
    rows = []
    for day, run_id in ((1, "monday"), (2, "tuesday")):
        made = make_tiny_bundle(
            tmp_path / "bundles", 60, n_readers=80, ratings=ratings, created_at=datetime(2026, 1, day, tzinfo=UTC)
        )
        rows.append({"bundle": made.name, "training_run": run_id})
        folder = tmp_path / "runs" / run_id
        data = make_split(80, 60)
        save_dataset(data, folder / "data" / "split")
        add_trained(folder / "data" / "split" / "readers.parquet")
        params = {"split": {"relevant_weight": 0.4}, "gate": {"k": 5 * day}, "train_als": {"factors": 8}}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return Settings(state_dir=tmp_path), rows


def add_trained(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("trained", pa.array([True] * table.num_rows)), path)


def test_the_readers_are_those_of_the_newer_run(registered: tuple[Settings, list[dict[str, str]]]) -> None:
    settings, rows = registered
    for order in (rows, rows[::-1]):
        found = models_cli.compared(settings, order)
        assert found["readers_compared"]["k"] == 10
        assert found["readers_compared"]["readers"] == 80
        assert sorted(found["params"]["gate.k"]) == [5, 10]
        assert "train_als.factors" not in found["params"]
        assert "git_commit" not in found["origins"]
        json.dumps(found)


def test_without_the_workspace_it_is_said_and_the_rest_is_shown(
    registered: tuple[Settings, list[dict[str, str]]],
) -> None:
    settings, rows = registered
    (settings.state_dir / "runs/tuesday/data/split/interactions.parquet").unlink()
    found = models_cli.compared(settings, rows)
    assert found["readers_compared"] is None
    out = StringIO()
    comparing.show(found, Console(file=out, width=200))
    assert "The workspace of the run tuesday is gone" in out.getvalue()


def test_what_is_printed(old: Bundle, popular: Bundle, case: Case) -> None:
    found = {"origins": {"git_commit": ["a", "b"]}, "params": {}, "readers_compared": None}
    out = StringIO()
    readers = comparing.compare(popular, old, old, case.tests, 10)
    comparing.show(found | {"readers_compared": readers}, Console(file=out, width=200))
    text = out.getvalue()
    assert "git_commit: a -> b" in text
    assert "history of 6 to 10" in text
    assert "better for" in text
    assert "In more lists: Title" in text
