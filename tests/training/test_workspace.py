"""The workspace of a run, parameters, versions, and how a failed stage is told."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from bookworks.errors import SettingError, TerminalError, TransientError
from bookworks.settings import PROJECT_ROOT, Settings
from training import (
    bundle,
    due,
    embed_titles,
    evaluate,
    snapshot,
    split,
    train_als,
    train_gnn,
    train_item_item,
    train_popularity,
    train_ranker,
    train_two_tower,
    tune_two_tower,
    workspace,
)
from training.origin import UNKNOWN, code_version, data_version, load_origin
from training.params import Options, load_params
from training.repro import stage_error
from training.tracking import metric_points
from training.verdict import GateParams
from training.workspace import existing, prepare, stage_environment

SECTIONS = {
    "options": Options,
    "snapshot": snapshot.SnapshotParams,
    "split": split.SplitParams,
    "embed_titles": embed_titles.EmbedParams,
    "tune_two_tower": tune_two_tower.TuneParams,
    "train_two_tower": train_two_tower.TwoTowerParams,
    "train_gnn": train_gnn.GnnParams,
    "train_item_item": train_item_item.ItemItemParams,
    "train_als": train_als.AlsParams,
    "train_popularity": train_popularity.PopularityParams,
    "train_ranker": train_ranker.RankerParams,
    "evaluate": evaluate.EvaluateParams,
    "bundle": bundle.BundleParams,
    "gate": GateParams,
    "retrain": due.RetrainParams,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, s3_secret_key="very-secret", git_commit="abc")


def test_each_stage_has_a_module_and_a_section_of_its_name() -> None:
    stages = yaml.safe_load((PROJECT_ROOT / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((PROJECT_ROOT / "params.yaml").read_text())
    assert set(stages) - {"refit"} | {"options", "gate", "retrain"} == set(params) == set(SECTIONS)
    fitted_twice = {*stages["train_item_item"]["params"], *stages["train_popularity"]["params"]}
    assert fitted_twice <= set(stages["refit"]["params"])
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m training.{name}"
        assert (PROJECT_ROOT / "training" / f"{name}.py").is_file()
        code = [dep for dep in stage["deps"] if dep.startswith(("training", "bookworks"))]
        assert all((PROJECT_ROOT / dep).exists() for dep in code)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_parameter_of_the_file_is_known_and_every_known_one_is_in_the_file(section: str) -> None:
    model = SECTIONS[section]
    load_params(section, model, PROJECT_ROOT / "params.yaml")
    params = yaml.safe_load((PROJECT_ROOT / "params.yaml").read_text())[section]
    assert set(params) == set(model.model_fields)


def test_a_workspace_has_its_own_code_and_instant_and_no_secret(settings: Settings) -> None:
    folder = prepare(settings, "one", ["split.test_share=0.2"])
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert params["split"]["test_share"] == 0.2
    assert datetime.fromisoformat(params["snapshot"]["as_of"]).tzinfo is not None
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    code = {dep for stage in stages for dep in stage["deps"] if dep.startswith(workspace.CODE)}
    assert all((folder / dep).exists() for dep in code)
    assert not list(folder.rglob("__pycache__"))
    assert "very-secret" not in "".join(path.read_text() for path in (folder / ".dvc").iterdir())
    again = prepare(settings, "one", [])
    assert yaml.safe_load((again / "params.yaml").read_text()) == params


@pytest.mark.parametrize("override", ["split", "split.nothing=1", "nothing.trials=1", "=", "split.=1"])
def test_an_unknown_parameter_is_refused(settings: Settings, override: str) -> None:
    with pytest.raises(SettingError, match="no such parameter"):
        prepare(settings, "one", [override])


@pytest.mark.parametrize("run_id", ["", "../up", "a/b", ".hidden", "x" * 200])
def test_a_run_id_that_is_no_name_is_refused(settings: Settings, run_id: str) -> None:
    with pytest.raises(SettingError, match="run id"):
        prepare(settings, run_id, [])


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("split: {test_share: 2}")
    with pytest.raises(SettingError, match=r"split\.test_share"):
        load_params("split", split.SplitParams, path)
    path.write_text("split: {tset_share: 0.1}")
    with pytest.raises(SettingError, match=r"split\.tset_share"):
        load_params("split", split.SplitParams, path)


def test_a_run_that_never_began_is_named(settings: Settings) -> None:
    with pytest.raises(TerminalError, match="no training run gone"):
        existing(settings, "gone")


def test_stages_see_the_settings_of_the_caller(settings: Settings) -> None:
    env = stage_environment(settings)
    assert env["BOOKWORKS_STATE_DIR"] == str(settings.state_dir)
    assert env["AWS_SECRET_ACCESS_KEY"] == env["BOOKWORKS_S3_SECRET_KEY"] == "very-secret"
    assert env["DVC_NO_ANALYTICS"] == "1"


def test_versions(settings: Settings, tmp_path: Path) -> None:
    assert code_version(settings) == "abc"
    assert load_origin(tmp_path).git_commit == UNKNOWN
    lock = tmp_path / "dvc.lock"
    assert data_version(lock) == UNKNOWN
    lock.write_text("stages: {split: {cmd: a}}")
    one = data_version(lock)
    lock.write_text("stages: {split: {cmd: a}, bundle: {cmd: b}}")
    assert data_version(lock) == one
    lock.write_text("stages: {split: {cmd: c}}")
    assert data_version(lock) != one


def test_the_exit_code_of_a_stage_decides_about_a_retry() -> None:
    def failed(status: int) -> Exception:
        error = RuntimeError("failed to reproduce 'snapshot'")
        error.__cause__ = RuntimeError(f"failed to run: python -m training.snapshot, exited with {status}")
        return error

    assert isinstance(stage_error("snapshot", failed(75)), TransientError)
    assert isinstance(stage_error("snapshot", failed(1)), TerminalError)


def test_a_stages_numbers_become_metrics_and_its_history_steps() -> None:
    summary = {"epochs": 2, "study": "s", "history": [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}]}
    points = {(p.name, p.step): p.value for p in metric_points("train_gnn", summary)}
    assert points == {("train_gnn.epochs", 0): 2.0, ("train_gnn.epoch.loss", 1): 3.0, ("train_gnn.epoch.loss", 2): 2.0}


def test_prune_keeps_the_newest_workspaces_and_those_in_use(tmp_path: Path) -> None:
    settings, runs = Settings(state_dir=tmp_path), tmp_path / "runs"
    for name in ("a", "b", "c", "d"):
        (runs / name / ".dvc").mkdir(parents=True)
        (runs / name / "dvc.yaml").touch()
        time.sleep(0.01)
    with workspace.alone(runs / "b"):
        assert workspace.prune(settings, keep=2) == ["a"]
    assert workspace.prune(settings, keep=2) == ["b"]
    assert sorted(path.name for path in runs.iterdir()) == ["c", "d"]
    assert workspace.prune(settings, keep=2) == []
