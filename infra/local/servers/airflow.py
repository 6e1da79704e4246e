"""Airflow: LocalExecutor on Postgres; api-server, scheduler, dag-processor and triggerer as four programs."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from configparser import RawConfigParser
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import httpx

from bookworks.errors import TerminalError, TransientError
from bookworks.settings import PROJECT_ROOT
from infra.local.layout import write_private
from infra.local.server import VENV_BIN, Context, Program, Server

PROGRAMS = {
    "airflow-api": ["api-server"],
    "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
}
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def home(context: Context) -> Path:
    """AIRFLOW_HOME."""
    return context.data("airflow")


def configuration(context: Context) -> dict[str, dict[str, object]]:
    """airflow.cfg, section by section; it holds the database's password and the keys."""
    settings = context.settings
    folder = home(context)
    database = settings.postgres_dsn(settings.airflow_db, "postgresql+psycopg2")
    return {
        "core": {
            "executor": "LocalExecutor",
            "dags_folder": PROJECT_ROOT / "dags",
            "load_examples": False,
            "parallelism": settings.airflow_parallelism,
            "max_active_tasks_per_dag": settings.airflow_parallelism,
            "fernet_key": settings.airflow_fernet_key.get_secret_value(),
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{settings.airflow_user}:admin",
            "simple_auth_manager_passwords_file": folder / "passwords.json",
            "execution_api_server_url": f"{settings.airflow_url}/execution/",
            "default_timezone": "utc",
            "dags_are_paused_at_creation": False,
            "min_serialized_dag_update_interval": 2,
            "min_serialized_dag_fetch_interval": 2,
        },
        "database": {
            "sql_alchemy_conn": database,
            "sql_alchemy_pool_size": 4,
            "sql_alchemy_max_overflow": 6,
        },
        "logging": {"base_log_folder": folder / "task-logs", "logging_level": "INFO"},
        "api": {
            "host": settings.bind_host,
            "port": settings.airflow_port,
            "base_url": settings.airflow_url,
            "workers": 1,
            "secret_key": _derived(context, "pages"),
        },
        "api_auth": {"jwt_secret": _derived(context, "tokens"), "jwt_issuer": "bookworks"},
        # A DAG that waits for an asset starts within the next loop or two of the scheduler.
        "scheduler": {
            "scheduler_heartbeat_sec": 1,
            "scheduler_idle_sleep_time": 1,
            "enable_health_check": False,
            "catchup_by_default": False,
        },
        # A changed file is read within a minute.
        "dag_processor": {"refresh_interval": 60, "min_file_process_interval": 60, "parsing_processes": 1},
        "triggerer": {"capacity": 100},
        "usage_data_collection": {"enabled": False},
    }


def _derived(context: Context, purpose: str) -> str:
    key = context.settings.airflow_secret.get_secret_value().encode()
    return hmac.new(key, purpose.encode(), hashlib.sha512).hexdigest()


def _as_text(sections: dict[str, dict[str, object]]) -> str:
    parser = RawConfigParser()
    parser.read_dict(
        {
            name: {key: str(value).replace("%", "%%") for key, value in values.items()}
            for name, values in sections.items()
        }
    )
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def environment(context: Context) -> dict[str, str]:
    """What every Airflow process needs; tasks inherit it, and so find the stack and its settings."""
    return {
        "AIRFLOW_HOME": str(home(context)),
        "PYTHONPATH": str(PROJECT_ROOT),
        "DO_NOT_TRACK": "true",
    }


def prepare(context: Context) -> None:
    """Write configuration and password; make or migrate the tables when Airflow's version changed.

    Raises:
        TerminalError: the migration failed.
    """
    settings = context.settings
    folder = home(context)
    write_private(folder / "airflow.cfg", _as_text(configuration(context)))
    write_private(
        folder / "passwords.json", json.dumps({settings.airflow_user: settings.airflow_password.get_secret_value()})
    )
    done = folder / f"migrated-to-{version('apache-airflow-core')}"
    if done.exists():
        return
    result = subprocess.run(
        [str(VENV_BIN / "airflow"), "db", "migrate"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False,
        env=context.environment() | environment(context),
    )  # fmt: skip
    if result.returncode:
        raise TerminalError("`airflow db migrate` failed", received=(result.stdout + result.stderr).strip()[-1500:])
    done.touch()


def programs(context: Context) -> list[Program]:
    """The four programs; tasks run in the repository's root and find `bookworks` on the path."""
    return [
        Program(
            name,
            [sys.executable, str(VENV_BIN / "airflow"), *arguments],
            environment(context),
            stop_group=True,
            stop_wait_s=10,
        )
        for name, arguments in PROGRAMS.items()
    ]


def check(context: Context) -> None:
    """Get a token with the password, and see all four components healthy."""
    settings = context.settings
    with httpx.Client(base_url=settings.airflow_url, timeout=5) as client:
        login = {"username": settings.airflow_user, "password": settings.airflow_password.get_secret_value()}
        client.post("/auth/token", json=login).raise_for_status()
        health = client.get("/api/v2/monitor/health").raise_for_status().json()
    ill = [name for name in COMPONENTS if health[name]["status"] != "healthy"]
    if ill:
        raise TransientError("Airflow is not whole", received=", ".join(ill))


SERVER = Server(
    name="airflow",
    programs=programs,
    check=check,
    ports=("airflow_port",),
    after=("postgres",),
    prepare=prepare,
    page=lambda settings: settings.airflow_url,
)
