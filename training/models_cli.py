"""`bookworks models …`: list, promote, roll back and compare registered bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from rich.console import Console
from rich.table import Table

from bookworks.adapters import mlflow
from bookworks.adapters.registry import fetch_bundle
from bookworks.contracts.bundle import CHALLENGER, CHAMPION
from bookworks.errors import SettingError, TerminalError
from bookworks.models.bundle import Bundle
from bookworks.settings import Settings, get_settings
from training import comparing, registry, workspace
from training.files import SPLIT

METRIC_NAMES = tuple(f"{metric}_at_{k}" for k in (10, 20) for metric in ("ndcg", "recall", "coverage", "novelty"))
SHOWN = ("ndcg_at_10", "recall_at_10", "coverage_at_10")
JSON = typer.Option("--json", help="Print JSON.")

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("list")
def list_models(as_json: Annotated[bool, JSON] = False) -> None:
    """List registered bundles, newest first, with alias, gate verdict and metrics."""
    settings, client = _connect()
    _show([row_of(client, settings, version) for version in mlflow.registered(client, settings)], as_json)


@app.command()
def promote(
    version: Annotated[str | None, typer.Argument(help="Bundle version or number; without it the challenger.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also one that the gate did not pass.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; needed with --force, recorded.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Let a bundle serve: the alias champion moves to it."""
    if force and not reason:
        raise SettingError("--force needs a reason", todo="say why: --force --reason '…'; it is recorded.")
    settings, client = _connect()
    chosen = registry.promote(client, settings, version, reason if force else None)
    _show([row_of(client, settings, chosen)], as_json)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "by hand",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Let the previous champion serve again."""
    settings, client = _connect()
    _show([row_of(client, settings, registry.rollback(client, settings, reason))], as_json)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Bundle version, number or alias.")] = CHAMPION,
    second: Annotated[str, typer.Argument(help="Bundle version, number or alias.")] = CHALLENGER,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show what changed from one bundle to another, and for whom.

    The metrics of each are of its own run's test readers; then both rank for the test readers of the newer run, if its
    workspace is still there.
    """
    settings, client = _connect()
    rows = [row_of(client, settings, _resolve(client, settings, name)) for name in (first, second)]
    found = compared(settings, rows)
    if as_json:
        print(json.dumps({"bundles": rows} | found))
        return
    _show(rows, False)
    comparing.show(found, Console())


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Newest runs whose workspaces stay.")] = 5,
) -> None:
    """Remove the workspaces of old training runs; bundles, MLflow and DVC's cache keep what they have."""
    removed = workspace.prune(get_settings(), keep)
    print(f"removed: {', '.join(removed) or 'nothing'}")


def compared(settings: Settings, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences of two bundles: origin, parameters, and lists for the same readers, or why these are not known."""
    bundles = [Bundle.load(fetch_bundle(settings, row["bundle"], settings.bundle_cache_path)) for row in rows]
    runs = [_workspace(settings, row["training_run"]) for row in rows]
    params = comparing.changed_params(runs[0], runs[1]) if runs[0] and runs[1] else {}
    found: dict[str, Any] = {"origins": comparing.origins(*bundles), "params": params, "readers_compared": None}
    newer = max((0, 1), key=lambda i: bundles[i].manifest.created_at)
    run = runs[newer]
    if run is None:
        why = f"The workspace of the run {rows[newer]['training_run']} is gone, and with it the test readers: "
        return found | {"why_not": f"{why}the lists are not compared."}
    tests, k = comparing.readers_of(run)
    return found | {"readers_compared": comparing.compare(*bundles, bundles[newer], tests, k)}


def _workspace(settings: Settings, run_id: str) -> Path | None:
    """The folder of a run, if its split is still there."""
    folder = workspace.folder_of(settings, run_id) if run_id else None
    return folder if folder and (folder / SPLIT / "interactions.parquet").is_file() else None


def row_of(client: MlflowClient, settings: Settings, version: ModelVersion) -> dict[str, Any]:
    """One registered bundle as a row."""
    names = (CHALLENGER, CHAMPION)
    pointed = {name: mlflow.aliased(client, settings, name) for name in names}
    aliases = [name for name, other in pointed.items() if other is not None and other.version == version.version]
    tags = version.tags
    metrics = {name: float(tags[name]) for name in METRIC_NAMES if name in tags}
    return {
        "bundle": registry.bundle_of(version),
        "number": int(version.version),
        "aliases": aliases,
        "gate": tags.get("gate", "none"),
        "training_run": tags.get("training_run", ""),
        "data_version": tags.get("data_version", ""),
        "git_commit": tags.get("git_commit", ""),
        **metrics,
    }


def _resolve(client: MlflowClient, settings: Settings, name: str) -> ModelVersion:
    if name not in (CHAMPION, CHALLENGER):
        return registry.find(client, settings, name)
    version = mlflow.aliased(client, settings, name)
    if version is None:
        raise TerminalError(f"There is no {name}", todo="see `bookworks models list`.")
    return version


def _connect() -> tuple[Settings, MlflowClient]:
    settings = get_settings()
    return settings, mlflow.connect(settings)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("No bundle is registered yet; the DAG train_and_promote makes the first.")
        return
    table = Table()
    for name in (
        "bundle",
        "number",
        "aliases",
        "gate",
        *(metric.replace("_at_", "@") for metric in SHOWN),
        "training run",
    ):
        table.add_column(name, overflow="fold")
    for row in rows:
        values = [f"{row[name]:.4f}" if name in row else "" for name in SHOWN]
        aliases = ", ".join(row["aliases"])
        table.add_row(row["bundle"], str(row["number"]), aliases, row["gate"], *values, row["training_run"])
    Console().print(table)
