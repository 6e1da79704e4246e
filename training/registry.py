"""The life of a bundle in the registry: challenger, champion, back again. Each move leaves a row in ClickHouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from bookworks.adapters import clickhouse, mlflow, postgres
from bookworks.adapters.registry import VERSION_TAG
from bookworks.contracts.bundle import CHALLENGER, CHAMPION
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

CHAMPIONS = "champions"  # tag of the registered model: bundle versions that served, oldest first, JSON
MOVE_LOCK = 7_207_002  # key of the advisory lock that one promotion or rollback holds
LOCK_TIMEOUT = "60s"
GATE, PASSED = "gate", "passed"
COLUMNS = ("bundle_version", "registered_at", "stage", "git_commit", "data_version", "mlflow_run", "reason")


def bundle_of(version: ModelVersion) -> str:
    """The bundle version of a registered model version."""
    return str(version.tags.get(VERSION_TAG, ""))


def promote(client: MlflowClient, settings: Settings, wanted: str | None, force_reason: str | None) -> ModelVersion:
    """Make a bundle the champion; without `wanted` the challenger.

    Args:
        client: of the registry.
        settings: ours.
        wanted: bundle version or number of the model version.
        force_reason: why one that the gate did not pass shall serve all the same; recorded.

    Raises:
        TerminalError: there is none such, or the gate did not pass it and no reason is given.
        TransientError: another promotion or rollback did not end in time.
    """
    with one_at_a_time(settings):
        version = find(client, settings, wanted) if wanted else _challenger(client, settings)
        verdict = version.tags.get(GATE, "none")
        if verdict != PASSED and not force_reason:
            raise TerminalError(
                f"The gate did not pass bundle {bundle_of(version)}",
                received=f"verdict {verdict}",
                allowed="verdict passed",
                todo="read the gate's report in MLflow; to serve it all the same: --force --reason '…'.",
            )
        reason = f"forced: {force_reason}" if verdict != PASSED else "promoted"
        _serve(client, settings, version, [*_history(client, settings), bundle_of(version)], reason)
        return version


def rollback(client: MlflowClient, settings: Settings, reason: str) -> ModelVersion:
    """Make the previous champion the champion again; a rollback that was broken off is brought to its end.

    Raises:
        TerminalError: no champion served before the present one.
        TransientError: another promotion or rollback did not end in time.
    """
    with one_at_a_time(settings):
        history = _history(client, settings)
        if len(history) < 2:
            raise TerminalError(
                "There is no champion to go back to",
                received=f"champions so far: {', '.join(history) or 'none'}",
                todo="promote another bundle: `bookworks models list`, `bookworks models promote VERSION`.",
            )
        version = find(client, settings, history[-2])
        _serve(client, settings, version, history[:-1], f"rollback from {history[-1]}: {reason}")
        return version


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold Postgres' lock of the registry; whoever comes second waits, and it falls when its holder dies.

    Raises:
        TransientError: it did not fall within `LOCK_TIMEOUT`, or Postgres is away.
    """
    with postgres.connect(settings, settings.mlflow_db, autocommit=True) as db:
        db.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            db.execute("select pg_advisory_lock(%s)", (MOVE_LOCK,))
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                "Another promotion or rollback is running",
                received=f"waited {LOCK_TIMEOUT}",
                todo="wait until it has ended, look at `bookworks models list`, then try again.",
            ) from None
        yield


def champions(client: MlflowClient, settings: Settings) -> list[str]:
    """Bundle versions that served, the present one last; what was rolled back is left out."""
    found: list[str] = json.loads(mlflow.model_tags(client, settings).get(CHAMPIONS, "[]"))
    return found


def _history(client: MlflowClient, settings: Settings) -> list[str]:
    """`champions`, with what serves now although its promotion was broken off before it was remembered.

    What serves and is the last but one was rolled back to; there the rollback was broken off.
    """
    history = champions(client, settings)
    serving = _serving(client, settings)
    return history if serving is None or serving in history[-2:] else [*history, serving]


def _serving(client: MlflowClient, settings: Settings) -> str | None:
    """The bundle version that the alias champion names."""
    version = mlflow.aliased(client, settings, CHAMPION)
    return bundle_of(version) if version else None


def find(client: MlflowClient, settings: Settings, wanted: str) -> ModelVersion:
    """The model version with that bundle version or number.

    Raises:
        TerminalError: there is none; names some that are.
    """
    versions = mlflow.registered(client, settings)
    for version in versions:
        if wanted in {bundle_of(version), str(version.version)}:
            return version
    known = ", ".join(bundle_of(version) for version in versions[:5]) or "none"
    raise TerminalError("No such bundle is registered", received=wanted, allowed=f"the newest are {known}")


def _challenger(client: MlflowClient, settings: Settings) -> ModelVersion:
    version = mlflow.aliased(client, settings, CHALLENGER)
    if version is None:
        raise TerminalError(
            "There is no challenger", todo="train and register one: the DAG train_and_promote, or training.register."
        )
    return version


def _serve(
    client: MlflowClient, settings: Settings, version: ModelVersion, history: Sequence[str], reason: str
) -> None:
    """Move the alias, remember the order of champions, leave a row; serving the same again changes nothing.

    The alias decides. Broken off in between, the same call made again does what is missing.
    """
    wanted = bundle_of(version)
    is_done = _serving(client, settings) == wanted and champions(client, settings)[-1:] == [wanted]
    if is_done and "forced" not in reason:
        return
    with mlflow.translated(settings):
        client.set_registered_model_alias(settings.model_name, CHAMPION, version.version)
        client.set_registered_model_tag(settings.model_name, CHAMPIONS, json.dumps(_once_in_a_row(history)))
    record(settings, version, CHAMPION, reason)


def _once_in_a_row(history: Sequence[str]) -> list[str]:
    return [name for i, name in enumerate(history) if i == 0 or history[i - 1] != name]


def record(settings: Settings, version: ModelVersion, stage: str, reason: str) -> None:
    """A row in ClickHouse `models`."""
    row: list[Any] = [
        bundle_of(version),
        datetime.now(UTC),
        stage,
        version.tags.get("git_commit", ""),
        version.tags.get("data_version", ""),
        version.run_id or "",
        reason,
    ]
    clickhouse.connect(settings).insert("models", [row], column_names=COLUMNS)
