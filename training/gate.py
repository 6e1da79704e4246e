"""The gate: compares the run's bundle with the one that serves now. `python -m training.gate --run-id ID`.

Exit 0: passed. Exit 3: refused. Each line, in words, is printed and kept in the workspace and in MLflow, with a page
that shows the intervals.
"""

from __future__ import annotations

import os
import sys
from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from bookworks.adapters import mlflow
from bookworks.adapters.registry import VERSION_TAG, fetch_bundle
from bookworks.cli.entry import run
from bookworks.contracts.bundle import CHAMPION
from bookworks.errors import TerminalError
from bookworks.models.bundle import Bundle
from bookworks.settings import Settings, get_settings
from training.files import BUNDLE, GATE, GATE_PAGE, GATE_TEXT, write_json
from training.gate_page import page, read_tried
from training.judge import judge, load_case
from training.origin import load_origin
from training.params import Options, load_params
from training.tracking import log_files
from training.verdict import GateParams, Unreadable, Verdict
from training.workspace import existing

EXIT_REFUSED = 3

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def gate(run_id: Annotated[str, typer.Option(help="The training run.")]) -> None:
    """Judge the bundle of a run."""
    settings = get_settings()
    workspace = existing(settings, run_id)
    with chdir(workspace):
        params, options = load_params("gate", GateParams), load_params("options", Options)
        verdict = judge(own_bundle(), serving_bundle(settings), load_case(params, options), params, options.seed)
        keep(settings, verdict)
    print(verdict.text())
    if not verdict.passed:
        sys.exit(EXIT_REFUSED)


def bundle_folder(workspace: Path = Path()) -> Path:
    """The one bundle of a workspace.

    Raises:
        TerminalError: the stage `bundle` has not run.
    """
    folders = sorted((workspace / BUNDLE).glob("*-*")) if (workspace / BUNDLE).is_dir() else []
    if not folders:
        raise TerminalError(
            "The run has no bundle yet",
            todo="make it: `python -m training.repro --run-id … bundle`.",
        )
    return folders[-1]


def own_bundle() -> Bundle:
    """The bundle of the current workspace."""
    return Bundle.load(bundle_folder())


def serving_bundle(settings: Settings) -> Bundle | Unreadable | None:
    """The champion's bundle, or why it cannot be read; None before the first promotion.

    Raises:
        TransientError: MLflow or the object store does not answer; no reason to refuse for good.
    """
    champion = mlflow.aliased(mlflow.connect(settings), settings, CHAMPION)
    if champion is None:
        return None
    version = champion.tags.get(VERSION_TAG, "")
    try:
        return Bundle.load(fetch_bundle(settings, version, settings.bundle_cache_path))
    except TerminalError as error:
        where = settings.bundle_cache_path / version
        why = (
            f"{error} Its copy here: {where}; without that copy it is fetched again." if where.is_dir() else f"{error}"
        )
        return Unreadable(version or f"model version {champion.version}", why)


def keep(settings: Settings, verdict: Verdict) -> None:
    """Write the verdict, as JSON, text and page, into the workspace and MLflow."""
    write_json(GATE, verdict.to_json())
    GATE_TEXT.write_text(verdict.text() + "\n", encoding="utf-8")
    GATE_PAGE.write_text(page(verdict, read_tried()), encoding="utf-8")
    origin = load_origin()
    client = mlflow.connect(settings)
    tags = {"gate": "passed" if verdict.passed else "refused", "bundle_version": verdict.challenger}
    mlflow.log(client, settings, origin.mlflow_run_id, tags=tags)
    log_files(settings, origin.mlflow_run_id, [Path(os.curdir) / path for path in (GATE, GATE_TEXT, GATE_PAGE)])


if __name__ == "__main__":
    run(app)
