"""repro, gate, register, promote, roll back, on real Postgres, MinIO, MLflow, Optuna and ClickHouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bookworks.adapters import clickhouse, mlflow, registry, s3
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from bookworks.settings import Settings
from tests.support.marts import make_marts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

QUICK = [
    "tune_two_tower.trials=2", "tune_two_tower.epochs=1", "train_two_tower.epochs=3", "train_two_tower.dim=16",
    "train_two_tower.batch_size=256", "train_gnn.epochs=2", "train_gnn.dim=16", "train_als.factors=8",
    "train_als.iterations=2", "train_popularity.min_readers=5", "train_ranker.blend_readers=40",
]  # fmt: skip
MODEL = "line"  # other tests register bundles too, broken ones among them
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def settings(stack) -> Settings:
    settings = stack.need("postgres", "minio", "mlflow", "clickhouse").model_copy(update={"model_name": MODEL})
    clickhouse.ensure_tables(settings)
    make_marts(settings)
    return settings


@pytest.fixture(scope="module")
def call(settings: Settings) -> Call:
    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"BOOKWORKS_GIT_COMMIT": "f" * 40, "BOOKWORKS_MODEL_NAME": MODEL}
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def first(call: Call) -> str:
    """The output of a whole first run."""
    sets = [part for value in QUICK for part in ("--set", value)]
    return call("training.repro", "--run-id", "first", *sets, "bundle").stdout


def version_of(settings: Settings, run_id: str) -> str:
    (folder,) = (settings.state_dir / "runs" / run_id / "bundle").glob("*-*")
    return folder.name


def test_a_run_makes_a_bundle_and_tells_mlflow(settings: Settings, first: str) -> None:
    assert "bundle: done" in first
    assert "pushed" in first
    version = version_of(settings, "first")
    bundle = Bundle.load(settings.state_dir / "runs/first/bundle" / version)
    assert len(bundle) == 120
    assert bundle.former_ids[bundle.index_of["w-a"]] == ["w-a", "w-b"]
    assert bundle.works["author_aliases"][bundle.index_of["w0007"]].as_py() == ["A. Seven"]
    assert bundle.work_ids[bundle.index_of["w-b"]] == "w0007"
    assert bundle.recommend(ReaderState("r0000", [0, 6]), 5).tier == "warm"
    assert bundle.manifest.git_commit == "f" * 40

    client = mlflow.connect(settings)
    run = client.get_run(mlflow.run_of(client, settings, "first"))
    assert bundle.manifest.mlflow_run_id == run.info.run_id
    assert run.data.params["train_two_tower.dim"] == "16"
    assert run.data.metrics["evaluate.blend.ndcg_at_10"] > run.data.metrics["evaluate.random.ndcg_at_10"]
    assert run.data.tags["data_version"] == bundle.manifest.data_version
    assert run.data.tags["code_version"] == "f" * 40
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"dvc.lock", "params.yaml", "metrics.json"} <= artifacts


def test_no_secret_is_in_the_workspace(settings: Settings, first: str) -> None:
    secrets = [settings.s3_secret_key.get_secret_value(), settings.postgres_password.get_secret_value()]
    for path in (settings.state_dir / "runs/first").rglob("*"):
        if path.is_file() and path.suffix in {"", ".yaml", ".json", ".local", ".lock"}:
            assert not any(secret in path.read_text(errors="replace") for secret in secrets), path


def test_the_same_data_in_another_run_is_restored_not_trained_again(settings: Settings, first: str, call: Call) -> None:
    sets = [part for value in QUICK for part in ("--set", value)]
    done = call("training.repro", "--run-id", "again", *sets, "bundle")
    assert "Running stage 'snapshot'" in done.stdout
    for stage in ("split", "train_two_tower", "train_gnn", "evaluate", "bundle"):
        assert f"Running stage '{stage}'" not in done.stdout
    assert version_of(settings, "again") == version_of(settings, "first")


def test_a_changed_parameter_runs_only_what_depends_on_it(settings: Settings, first: str, call: Call) -> None:
    set_ = ("--set", "train_als.factors=4")
    done = call("training.repro", "--run-id", "again", *set_, "--no-push", "train_als", "train_gnn")
    assert "Running stage 'train_als'" in done.stdout
    assert "train_gnn: unchanged" in done.stdout


def test_gate_register_promote_and_roll_back(settings: Settings, first: str, call: Call) -> None:
    passed = call("training.gate", "--run-id", "first")
    assert "is passed" in passed.stdout
    call("training.register", "--run-id", "first")
    call("training.register", "--run-id", "first")
    one = version_of(settings, "first")
    with registry.connect(settings) as client:
        assert registry.version_of_alias(client, settings, "challenger") == one
        assert registry.version_of_alias(client, settings, "champion") is None
    call("bookworks.cli.main", "models", "promote")

    sets = [part for value in (*QUICK, "train_als.factors=4") for part in ("--set", value)]
    call("training.repro", "--run-id", "second", *sets, "bundle")
    two = version_of(settings, "second")
    assert two != one
    gate = call("training.gate", "--run-id", "second")
    assert f"of the serving {one}" in gate.stdout
    call("training.register", "--run-id", "second")
    call("bookworks.cli.main", "models", "promote", two)
    listed = json.loads(call("bookworks.cli.main", "models", "list", "--json").stdout)
    assert [(row["bundle"], row["aliases"]) for row in listed] == [(two, ["challenger", "champion"]), (one, [])]
    call("bookworks.cli.main", "models", "rollback", "--reason", "a test")
    with registry.connect(settings) as client:
        assert registry.version_of_alias(client, settings, "champion") == one
    refused = call("bookworks.cli.main", "models", "rollback", code=1)
    assert "no champion to go back to" in refused.stderr

    rows = clickhouse.connect(settings).query("select stage, bundle_version, reason from models").result_rows
    moves = [(stage, version) for stage, version, _ in rows if version in {one, two}]
    assert moves.count(("challenger", one)) == 1
    assert sorted(moves) == sorted(
        [("challenger", one), ("challenger", two), ("champion", one), ("champion", two), ("champion", one)]
    )
    assert any("rollback" in reason and "a test" in reason for _, _, reason in rows)
    counted = clickhouse.connect(settings).query("select count() from metrics final where model = 'blend'").result_rows
    assert counted[0][0] > 0
    assert f"{one}/manifest.json" in set(s3.list_keys(settings, settings.bundles_bucket, f"{one}/"))


def test_what_the_gate_refused_is_not_promoted_without_a_reason(settings: Settings, first: str, call: Call) -> None:
    refused = call("training.gate", "--run-id", "strict", code=1)
    assert "no training run strict" in refused.stderr
    workspace = settings.state_dir / "runs" / "first"
    params = workspace / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(text.replace("min_coverage: 0.01", "min_coverage: 1.0").replace("k: 10", "k: 1"))
        verdict = call("training.gate", "--run-id", "first", code=3)
    finally:
        params.write_text(text)
    assert "FAILS: the lists show" in verdict.stdout
    call("training.register", "--run-id", "first")
    version = version_of(settings, "first")
    blocked = call("bookworks.cli.main", "models", "promote", version, code=1)
    assert "did not pass" in blocked.stderr
    call("bookworks.cli.main", "models", "promote", version, "--force", code=1)
    call("bookworks.cli.main", "models", "promote", version, "--force", "--reason", "because")


def test_a_users_mistake_is_said_in_words(settings: Settings, call: Call) -> None:
    unknown = call("training.repro", "--run-id", "first", "train_nothing", code=1)
    assert "train_nothing" in unknown.stderr
    wrong = call("training.repro", "--run-id", "first", "--set", "split.nothing=1", "split", code=1)
    assert "section.name=value" in wrong.stderr
    path = call("training.repro", "--run-id", "../first", "split", code=1)
    assert "run id" in path.stderr
    for done in (unknown, wrong, path):
        assert "Traceback" not in done.stderr


def test_the_folder_of_runs_is_inside_the_state_folder(settings: Settings, first: str) -> None:
    assert Path(settings.state_dir / "runs/first/dvc.lock").is_file()
