"""The run's bundle into MinIO, MLflow's registry (alias challenger) and ClickHouse. May be repeated.

python -m training.register --run-id ID
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bookworks.adapters import clickhouse, mlflow, s3
from bookworks.cli.entry import run
from bookworks.contracts.bundle import CHALLENGER, MANIFEST, Manifest
from bookworks.models.bundle_files import read_manifest
from bookworks.settings import Settings, get_settings
from training import registry
from training.files import EVALUATION, GATE, read_json
from training.gate import bundle_folder
from training.origin import load_origin
from training.workspace import existing

METRIC_COLUMNS = ("bundle_version", "model", "metric", "k", "slice", "value", "low", "high", "measured_at")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def register(run_id: Annotated[str, typer.Option(help="The training run.")]) -> None:
    """Publish the bundle of a run as the challenger."""
    settings = get_settings()
    workspace = existing(settings, run_id)
    folder = bundle_folder(workspace)
    manifest = read_manifest(folder)
    upload(settings, folder, manifest.version)
    number = put_into_registry(settings, workspace, manifest)
    insert_metrics(settings, manifest, read_json(workspace / EVALUATION)["rows"])
    print(f"bundle {manifest.version} is model version {number} of {settings.model_name}, alias {CHALLENGER}")


def upload(settings: Settings, folder: Path, version: str) -> None:
    """Copy the bundle to MinIO, manifest last; one that is there is never written again."""
    prefix = f"{version}/"
    if prefix + MANIFEST not in s3.list_keys(settings, settings.bundles_bucket, prefix):
        s3.upload_folder(settings, folder, settings.bundles_bucket, prefix, last=MANIFEST)


def put_into_registry(settings: Settings, workspace: Path, manifest: Manifest) -> str:
    """The model version's number; alias challenger points to it, ClickHouse has one row of it."""
    client = mlflow.connect(settings)
    known = {registry.bundle_of(version) for version in mlflow.registered(client, settings)}
    number = mlflow.register(
        client,
        settings,
        manifest.version,
        source=f"s3://{settings.bundles_bucket}/{manifest.version}",
        mlflow_run_id=load_origin(workspace).mlflow_run_id,
        tags=version_tags(manifest, workspace),
    )
    with mlflow.translated(settings):
        client.set_registered_model_alias(settings.model_name, CHALLENGER, number)
    if manifest.version not in known:
        version = registry.find(client, settings, manifest.version)
        registry.record(settings, version, CHALLENGER, f"gate: {version.tags['gate']}")
    return number


def version_tags(manifest: Manifest, workspace: Path) -> dict[str, str]:
    """Tags of the model version: gate's verdict, versions, metrics."""
    metrics = {name: f"{value:.5f}" for name, value in manifest.metrics.items()}
    return {
        "gate": gate_verdict(workspace, manifest.version),
        "git_commit": manifest.git_commit,
        "data_version": manifest.data_version,
        "snapshot_id": manifest.snapshot_id,
        "training_run": workspace.name,
        **metrics,
    }


def gate_verdict(workspace: Path, version: str) -> str:
    """`passed`, `refused`, or `none` when the gate has not judged this bundle."""
    path = workspace / GATE
    verdict: dict[str, Any] = read_json(path) if path.is_file() else {}
    if verdict.get("challenger") != version:
        return "none"
    return "passed" if verdict["passed"] else "refused"


def insert_metrics(settings: Settings, manifest: Manifest, rows: list[dict[str, Any]]) -> None:
    """The evaluation's rows into ClickHouse `metrics`; the same rows again collapse."""
    fields = METRIC_COLUMNS[1:-1]
    data = [[manifest.version, *(row[name] for name in fields), manifest.created_at] for row in rows]
    clickhouse.connect(settings).insert("metrics", data, column_names=METRIC_COLUMNS)


if __name__ == "__main__":
    run(app)
