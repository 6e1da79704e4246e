"""Entry point of the MLflow image: the tracking server on Postgres and the object store, behind a password."""

from __future__ import annotations

import os
from pathlib import Path

from bookworks.cli.entry import run
from bookworks.settings import Settings, get_settings


def mlflow_environment(settings: Settings, auth_config: Path) -> dict[str, str]:
    """MLflow's variables, secrets among them: never print the values."""
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(auth_config),
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.mlflow_user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.mlflow_password.get_secret_value(),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.mlflow_secret.get_secret_value(),
        "MLFLOW_BACKEND_STORE_URI": settings.postgres_dsn(settings.mlflow_db, "postgresql+psycopg2"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_S3_ENDPOINT_URL": settings.s3_url,
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
    }


def auth_config_text(settings: Settings) -> str:
    """MLflow's own user store lives in its database, beside the runs."""
    address = settings.postgres_dsn(settings.mlflow_db, "postgresql+psycopg2")
    return (
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {address.replace('%', '%%')}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )


def server_arguments(settings: Settings) -> list[str]:
    """The command; no secret among its arguments, which every user of the machine can read."""
    hosts = f"{settings.mlflow_host}:{settings.mlflow_port},localhost:*,127.0.0.1:*"
    return [
        "mlflow",
        "server",
        "--app-name=basic-auth",
        f"--host={settings.bind_host}",
        f"--port={settings.mlflow_port}",
        f"--artifacts-destination=s3://{settings.mlflow_bucket}",
        f"--allowed-hosts={hosts}",
        f"--workers={settings.mlflow_workers}",
    ]


def main() -> None:
    """Become `mlflow server`."""
    settings = get_settings()
    auth_config = settings.state_dir / "mlflow_auth.ini"
    auth_config.parent.mkdir(parents=True, exist_ok=True)
    auth_config.touch(mode=0o600)
    auth_config.write_text(auth_config_text(settings))
    arguments = server_arguments(settings)
    os.execvpe(arguments[0], arguments, os.environ | mlflow_environment(settings, auth_config))  # noqa: S606


if __name__ == "__main__":
    run(main)
