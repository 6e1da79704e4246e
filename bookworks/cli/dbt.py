"""`bookworks dbt -- build`: dbt on the warehouse, with the platform's settings in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from bookworks.adapters import postgres
from bookworks.errors import SettingError
from bookworks.settings import PROJECT_ROOT, Settings, get_settings

PROJECT = PROJECT_ROOT / "dbt_project"
# Commands that do not ask the data base for anything.
OFFLINE = frozenset({"parse", "list", "ls", "clean", "deps", "debug"})


def dbt(arguments: Annotated[list[str], typer.Argument(help="Arguments for dbt, after `--`.")]) -> None:
    """Run dbt on the warehouse: `bookworks dbt -- build --select works`."""
    settings = get_settings()
    executable = Path(sys.executable).with_name("dbt")
    if not executable.exists():
        raise SettingError(
            "dbt is not installed", received=str(executable), todo="install the group `jobs`: uv sync --group jobs."
        )
    if arguments[0] not in OFFLINE:
        postgres.connect(settings, settings.warehouse_db).close()
    result = subprocess.run([str(executable), *arguments], env=environment(settings), cwd=PROJECT, check=False)
    if result.returncode:
        sys.exit(result.returncode)


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which dbt runs; the password is here and nowhere else."""
    return os.environ | {
        "BOOKWORKS_POSTGRES_HOST": settings.postgres_host,
        "BOOKWORKS_POSTGRES_PORT": str(settings.postgres_port),
        "BOOKWORKS_POSTGRES_USER": settings.postgres_user,
        "BOOKWORKS_WAREHOUSE_DB": settings.warehouse_db,
        "BOOKWORKS_DBT_THREADS": str(settings.dbt_threads),
        "DBT_ENV_SECRET_POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(settings.state_dir / "dbt" / "target"),
        "DBT_LOG_PATH": str(settings.state_dir / "dbt" / "logs"),
        "DO_NOT_TRACK": "1",
    }
