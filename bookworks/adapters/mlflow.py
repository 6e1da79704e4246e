"""MLflow: tracking client and registry, with the platform's settings; its errors leave as ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from bookworks.adapters.registry import VERSION_TAG
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

RUN_TAG = "bookworks.run_id"  # tag of a run: the id of the training run
MAX_BATCH = 500
NOT_FOUND = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
GONE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; `step` is the epoch where there is one."""

    name: str
    value: float
    step: int = 0


def connect(settings: Settings) -> MlflowClient:
    """Point MLflow of this process at our server and return a client.

    MLflow reads its user and password from the environment only, so they are put there.
    """
    os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_user
    os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_password.get_secret_value()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    set_tracking_uri(settings.mlflow_url)
    set_registry_uri(settings.mlflow_url)
    return MlflowClient()


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """Turn MLflow's errors into ours.

    Raises:
        TransientError: no answer, or the server is in trouble.
        TerminalError: the server refused the request.
    """
    try:
        yield
    except MlflowException as error:
        kind = TransientError if error.error_code in GONE else TerminalError
        raise kind(
            f"MLflow at {settings.mlflow_url} did not do what was asked",
            received=str(error).strip().splitlines()[0][:300],
            todo="check `bookworks status mlflow` and the BOOKWORKS_MLFLOW_… settings.",
        ) from error


def run_of(client: MlflowClient, settings: Settings, run_id: str) -> str:
    """MLflow's id of the one run that belongs to training run `run_id`; made if missing."""
    with translated(settings):
        experiment = client.get_experiment_by_name(settings.mlflow_experiment)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(settings.mlflow_experiment)
        found = client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        run = client.create_run(experiment_id, run_name=run_id, tags={RUN_TAG: run_id})
        return str(run.info.run_id)


def log(
    client: MlflowClient,
    settings: Settings,
    mlflow_run_id: str,
    *,
    params: Mapping[str, object] | None = None,
    metrics: Sequence[MetricPoint] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log to a run; may be repeated. A parameter that changed since is kept as a tag `changed.<name>`."""
    now = int(time.time() * 1000)
    with translated(settings):
        known = client.get_run(mlflow_run_id).data.params
        wanted = {name: str(value)[:6000] for name, value in (params or {}).items()}
        new = [Param(name, value) for name, value in wanted.items() if name not in known]
        marks = {f"changed.{name}": value for name, value in wanted.items() if known.get(name, value) != value}
        marks |= dict(tags or {})
        client.log_batch(mlflow_run_id, params=new, tags=[RunTag(name, value) for name, value in marks.items()])
        points = [Metric(p.name, p.value, now, p.step) for p in metrics]
        for start in range(0, len(points), MAX_BATCH):
            client.log_batch(mlflow_run_id, metrics=points[start : start + MAX_BATCH])


def registered(client: MlflowClient, settings: Settings) -> list[ModelVersion]:
    """All registered versions of our model, newest first; none if the model is not there yet."""
    with translated(settings):
        found: list[ModelVersion] = list(client.search_model_versions(f"name = '{settings.model_name}'"))
        return sorted(found, key=lambda version: -int(version.version))


def register(
    client: MlflowClient,
    settings: Settings,
    bundle_version: str,
    source: str,
    mlflow_run_id: str,
    tags: Mapping[str, str],
) -> str:
    """The model version of a bundle, made if missing; its tags are renewed."""
    with translated(settings):
        _ensure_model(client, settings)
        found = [v for v in registered(client, settings) if v.tags.get(VERSION_TAG) == bundle_version]
        if found:
            number = str(found[0].version)
            for name, value in tags.items():
                client.set_model_version_tag(settings.model_name, number, name, value)
            return number
        made = client.create_model_version(
            settings.model_name, source, run_id=mlflow_run_id or None, tags={VERSION_TAG: bundle_version, **tags}
        )
        return str(made.version)


def _ensure_model(client: MlflowClient, settings: Settings) -> None:
    try:
        client.get_registered_model(settings.model_name)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
        client.create_registered_model(settings.model_name)


def aliased(client: MlflowClient, settings: Settings, alias: str) -> ModelVersion | None:
    """The model version that `alias` names, or None."""
    try:
        return client.get_model_version_by_alias(settings.model_name, alias)
    except MlflowException as error:
        if error.error_code in NOT_FOUND:
            return None
        with translated(settings):
            raise


def model_tags(client: MlflowClient, settings: Settings) -> dict[str, Any]:
    """Tags of the registered model."""
    with translated(settings):
        return dict(client.get_registered_model(settings.model_name).tags)
