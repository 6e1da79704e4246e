"""Where a run comes from: code version, data version, MLflow run; kept in the workspace's `run.json`."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from bookworks.settings import PROJECT_ROOT, Settings
from training.files import LOCK, RUN, read_json, write_json

UNKNOWN = "unknown"
LAST_STAGE = "bundle"  # its own lines in dvc.lock do not belong to the data it was made from


@dataclass(frozen=True)
class RunOrigin:
    """Identity of one training run."""

    run_id: str
    mlflow_run_id: str
    git_commit: str

    def save(self, workspace: Path) -> None:
        """Write `run.json`."""
        write_json(workspace / RUN, asdict(self))


def load_origin(workspace: Path = Path()) -> RunOrigin:
    """The run that this workspace belongs to; one made by hand is unknown."""
    path = workspace / RUN
    return RunOrigin(**read_json(path)) if path.is_file() else RunOrigin(UNKNOWN, "", UNKNOWN)


def code_version(settings: Settings) -> str:
    """The setting `git_commit`, else the commit of the checkout (`+dirty` if files differ), else `unknown`."""
    if settings.git_commit:
        return settings.git_commit
    if not (PROJECT_ROOT / ".git").exists():
        return UNKNOWN
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def data_version(lock: Path = LOCK) -> str:
    """First 16 hex digits of the SHA-256 of dvc.lock's stages up to `evaluate`; `unknown` before the first stage."""
    if not lock.is_file():
        return UNKNOWN
    stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
    stages.pop(LAST_STAGE, None)
    return hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()[:16]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(PROJECT_ROOT), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
