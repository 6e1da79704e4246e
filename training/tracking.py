"""What a stage leaves, into MLflow: parameters, metrics, versions, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bookworks.adapters import mlflow
from bookworks.adapters.mlflow import MetricPoint
from bookworks.settings import Settings
from training.files import EVALUATION, LOCK, METRICS, PARAMS, read_json
from training.origin import code_version, data_version


def log_stages(settings: Settings, mlflow_run_id: str, workspace: Path, seconds: dict[str, float]) -> None:
    """Log the stages in `seconds` (stage -> duration), whether they ran or were restored."""
    client = mlflow.connect(settings)
    params = yaml.safe_load((workspace / PARAMS).read_text(encoding="utf-8"))
    sections = [name for name in params if name in seconds or name == "options"]
    points = [MetricPoint(f"seconds.{stage}", value) for stage, value in seconds.items()]
    for stage in seconds:
        path = workspace / METRICS / f"{stage}.json"
        if path.is_file():
            points += metric_points(stage, read_json(path))
    mlflow.log(
        client,
        settings,
        mlflow_run_id,
        params={f"{name}.{key}": value for name in sections for key, value in params[name].items()},
        metrics=points,
        tags={"data_version": data_version(workspace / LOCK), "code_version": code_version(settings)},
    )
    if "bundle" in seconds or "evaluate" in seconds:
        log_files(settings, mlflow_run_id, [workspace / path for path in (LOCK, PARAMS, EVALUATION)])


def log_files(settings: Settings, mlflow_run_id: str, paths: list[Path]) -> None:
    """Keep files as artifacts of the run."""
    client = mlflow.connect(settings)
    with mlflow.translated(settings):
        for path in paths:
            client.log_artifact(mlflow_run_id, str(path))


def metric_points(stage: str, summary: dict[str, Any]) -> list[MetricPoint]:
    """`metrics/<stage>.json` as points: numbers by name, `history` by epoch."""
    points = [
        MetricPoint(f"{stage}.{name}", float(value))
        for name, value in summary.items()
        if isinstance(value, int | float)
    ]
    for line in summary.get("history", []):
        epoch = int(line["epoch"])
        points += [
            MetricPoint(f"{stage}.epoch.{name}", float(value), epoch) for name, value in line.items() if name != "epoch"
        ]
    return points
