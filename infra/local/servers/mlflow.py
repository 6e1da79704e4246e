"""MLflow: runs and registry in Postgres, artifacts in MinIO handed out by the server, users with passwords."""

from __future__ import annotations

import sys

import httpx

from infra.local.layout import write_private
from infra.local.server import Context, Program, Server


def prepare(context: Context) -> None:
    """Write the configuration of its users; it holds the database's password."""
    settings = context.settings
    database = settings.postgres_dsn(settings.mlflow_db).replace("%", "%%")  # the file's own escape
    write_private(
        context.config("mlflow-auth.ini"),
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {database}\n"
        f"admin_username = {settings.mlflow_user}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n",
    )


def programs(context: Context) -> list[Program]:
    """The server; what is secret travels in the environment and in a file of mode 600."""
    settings = context.settings
    argv = [
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--serve-artifacts",
        "--artifacts-destination", f"s3://{settings.mlflow_bucket}",
        "--host", settings.bind_host, "--port", str(settings.mlflow_port),
        "--workers", str(settings.mlflow_workers),
    ]  # fmt: skip
    env = {
        "MLFLOW_BACKEND_STORE_URI": settings.postgres_dsn(settings.mlflow_db),
        "MLFLOW_AUTH_CONFIG_PATH": str(context.config("mlflow-auth.ini")),
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.mlflow_user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.mlflow_password.get_secret_value(),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.mlflow_secret.get_secret_value(),
        "MLFLOW_S3_ENDPOINT_URL": settings.s3_url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
        "OMP_NUM_THREADS": "1",
    }
    return [Program("mlflow", argv, env, cwd=context.data("mlflow"), stop_group=True, stop_wait_s=8)]


def check(context: Context) -> None:
    """Look for one experiment with the password."""
    settings = context.settings
    auth = (settings.mlflow_user, settings.mlflow_password.get_secret_value())
    url = f"{settings.mlflow_url}/api/2.0/mlflow/experiments/search"
    httpx.post(url, json={"max_results": 1}, auth=auth, timeout=5).raise_for_status()


SERVER = Server(
    name="mlflow",
    programs=programs,
    check=check,
    ports=("mlflow_port",),
    after=("postgres", "minio"),
    prepare=prepare,
    page=lambda settings: settings.mlflow_url,
)
