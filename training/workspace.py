"""The folder of one training run: `<state_dir>/runs/<run_id>/`, with its own copy of code, pipeline and parameters.

The cache of DVC is shared by all runs, so that an unchanged stage is restored instead of run.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from bookworks.errors import SettingError, TerminalError
from bookworks.settings import PROJECT_ROOT, Settings
from training.files import PARAMS

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
CODE = ("bookworks", "training")
FILES = ("dvc.yaml", "params.yaml", ".dvcignore")


def folder_of(settings: Settings, run_id: str) -> Path:
    """Where the workspace of a run is or will be.

    Raises:
        SettingError: the run id cannot be a folder's name.
    """
    if not RUN_ID.fullmatch(run_id):
        raise SettingError("The run id is not usable", received=repr(run_id), allowed="letters, digits and _ . + -")
    return settings.state_dir.resolve() / "runs" / run_id


def existing(settings: Settings, run_id: str) -> Path:
    """The workspace of a run that has begun.

    Raises:
        TerminalError: there is none.
    """
    folder = folder_of(settings, run_id)
    if not (folder / PARAMS).is_file():
        runs = sorted(path.name for path in folder.parent.glob("*")) if folder.parent.is_dir() else []
        raise TerminalError(
            f"There is no training run {run_id}",
            allowed=f"one of {runs[-5:]}" if runs else None,
            todo=f"start it: `python -m training.repro --run-id {run_id} bundle`.",
        )
    return folder


def prepare(settings: Settings, run_id: str, overrides: list[str]) -> Path:
    """The workspace of a run, made if missing, with `overrides` (`section.name=value`) in its params.yaml."""
    folder = folder_of(settings, run_id)
    if not folder.is_dir():
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        _fill(draft, settings)
        draft.rename(folder)
    if overrides:
        _override(folder / PARAMS, overrides)
    return folder


def prune(settings: Settings, keep: int) -> list[str]:
    """Remove all but the newest `keep` workspaces, by the time they were made; returns the run ids removed.

    One in which a stage runs is left alone.
    """
    pipelines = (settings.state_dir.resolve() / "runs").glob("[!.]*/dvc.yaml")  # written once, when a run is made
    folders = [path.parent for path in sorted(pipelines, key=lambda path: path.stat().st_ctime)]
    removed = []
    for folder in folders[: max(0, len(folders) - keep)]:
        with suppress(BlockingIOError), alone(folder, wait=False):
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed


def _fill(folder: Path, settings: Settings) -> None:
    folder.mkdir(parents=True)
    for name in CODE:
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(PROJECT_ROOT / name, folder / name)
    _override(folder / PARAMS, [f"snapshot.as_of={datetime.now(UTC).isoformat()}"])
    (folder / ".dvc").mkdir()
    shutil.copy(PROJECT_ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    (folder / ".dvc" / "config.local").write_text(_dvc_config(settings), encoding="utf-8")


def _dvc_config(settings: Settings) -> str:
    state = settings.state_dir.resolve()
    return f"""[core]
    no_scm = true
    site_cache_dir = {state / "dvc-site"}
[cache]
    dir = {state / "dvc-cache"}
['remote "minio"']
    url = s3://{settings.dvc_bucket}
    endpointurl = {settings.s3_url}
    region = {settings.s3_region}
"""


def _override(path: Path, overrides: list[str]) -> None:
    """Set values in params.yaml, keeping the rest.

    Raises:
        SettingError: not of the form section.name=value, or there is no such parameter.
    """
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for text in overrides:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        if name not in (params.get(section) or {}):
            raise SettingError(
                "There is no such parameter",
                received=repr(text),
                allowed="section.name=value with section and name of params.yaml",
            )
        params[section][name] = _instant(yaml.safe_load(value))
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _instant(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the workspace: a second call for the same run waits until the first is done.

    Raises:
        BlockingIOError: somebody holds it, and `wait` is false.
    """
    with (folder / ".dvc" / "run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def stage_environment(settings: Settings) -> dict[str, str]:
    """Environment of the stages: this interpreter first, our settings as they are here, DVC silent and offline."""
    env = {f"BOOKWORKS_{name.upper()}": _plain(value) for name, value in settings if value is not None}
    threads = "2"
    return env | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        "DVC_NO_ANALYTICS": "1",
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", threads),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.resolve())
    return str(value)
