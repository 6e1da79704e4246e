"""Runs DVC stages in the workspace of a run, logs them to MLflow, and pushes what they made to MinIO.

    python -m training.repro --run-id 20260101T000000 [--set tune_two_tower.trials=3] STAGE [STAGE…]

A stage whose code, parameters and inputs are unchanged is not run; another run's result is restored from the cache.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from bookworks.adapters import mlflow
from bookworks.cli.entry import EXIT_TRANSIENT, run
from bookworks.errors import SettingError, TerminalError, TransientError
from bookworks.settings import Settings, get_settings
from training.origin import RunOrigin, code_version
from training.tracking import log_stages
from training.workspace import alone, prepare, stage_environment

EXITED = re.compile(r"exited with (\d+)")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def repro(
    stages: Annotated[list[str], typer.Argument(help="Stages of dvc.yaml, in any order.")],
    run_id: Annotated[str, typer.Option(help="Name of the training run; its workspace is made if missing.")],
    set_: Annotated[list[str], typer.Option("--set", help="section.name=value of params.yaml, for this run.")] = [],  # noqa: B006
    push: Annotated[bool, typer.Option(help="Push results to the DVC remote.")] = True,
) -> None:
    """Reproduce stages, and what they need, in the workspace of a run."""
    settings = get_settings()
    workspace = prepare(settings, run_id, set_)
    check_stages(workspace, stages)
    with alone(workspace):
        client = mlflow.connect(settings)
        mlflow_run_id = mlflow.run_of(client, settings, run_id)
        RunOrigin(run_id, mlflow_run_id, code_version(settings)).save(workspace)
        seconds = reproduce(settings, workspace, stages, push=push)
        log_stages(settings, mlflow_run_id, workspace, seconds)


def check_stages(workspace: Path, stages: list[str]) -> None:
    """Refuse a stage that dvc.yaml does not have.

    Raises:
        SettingError: names it.
    """
    known = list(yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    for stage in stages:
        if stage not in known:
            raise SettingError("There is no such stage", received=repr(stage), allowed=", ".join(known))


def reproduce(settings: Settings, workspace: Path, stages: list[str], push: bool) -> dict[str, float]:
    """Bring the stages up to date; returns stage -> seconds, inputs that had to be made included.

    Raises:
        TransientError: an outside system was away; the same call may succeed later.
        TerminalError: a stage failed; its own message is above.
    """
    os.environ.update(stage_environment(settings))
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    _show_dvc_log()
    seconds: dict[str, float] = {}
    with chdir(workspace), Repo() as repo:
        for stage in stages:
            started = time.monotonic()
            try:
                done = repo.reproduce([stage])
            except DvcException as error:
                raise stage_error(stage, error) from None
            seconds |= {other.name: 0.0 for other in done if other.name not in seconds}
            seconds[stage] = round(time.monotonic() - started, 3)
            print(f"{stage}: {'done' if done else 'unchanged'} in {seconds[stage]:.1f} s", flush=True)
        if push:
            _push(repo, settings)
    return seconds


def _push(repo: Any, settings: Settings) -> None:
    from dvc.exceptions import DvcException

    try:
        print(f"pushed {repo.push(run_cache=True)} files to {settings.dvc_bucket}", flush=True)
    except (DvcException, OSError) as error:
        raise TransientError(
            f"The results could not be pushed to the DVC remote at {settings.s3_url}",
            received=error,
            todo="check `bookworks status minio`; run the same command again.",
        ) from error


def stage_error(stage: str, error: BaseException) -> TerminalError | TransientError:
    """Our error for a stage that DVC could not reproduce; the exit code of the stage decides about a retry."""
    causes = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    text = "; ".join(causes)
    found = EXITED.search(text)
    if found and int(found[1]) == EXIT_TRANSIENT:
        return TransientError(
            f"Stage {stage} did not finish", received=text, todo="run it again; its message is above."
        )
    return TerminalError(f"Stage {stage} failed", received=text, todo="its own message is above.")


def _show_dvc_log() -> None:
    logger = logging.getLogger("dvc")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


if __name__ == "__main__":
    run(app)
