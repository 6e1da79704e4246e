"""MinIO: the object store of the lake, the bundles, MLflow and DVC."""

from __future__ import annotations

from bookworks.adapters import s3
from infra.local.server import Context, Program, Server


def programs(context: Context) -> list[Program]:
    """The server; its root user is the platform's S3 user."""
    settings = context.settings
    argv = [
        str(context.tools / "minio" / "minio"), "server", str(context.data("minio")),
        "--address", f"{settings.bind_host}:{settings.minio_port}",
        "--console-address", f"{settings.bind_host}:{settings.minio_console_port}",
    ]  # fmt: skip
    env = {
        "MINIO_ROOT_USER": settings.s3_access_key,
        "MINIO_ROOT_PASSWORD": settings.s3_secret_key.get_secret_value(),
        "MINIO_REGION": settings.s3_region,
        "MINIO_UPDATE": "off",
        "MINIO_CONFIG_DIR": str(context.layout.config / "minio"),
        "GOMEMLIMIT": f"{settings.minio_memory_mb}MiB",
    }
    return [Program("minio", argv, env)]


def check(context: Context) -> None:
    """List the buckets with the keys."""
    s3.connect(context.settings).list_buckets()


def finish(context: Context) -> None:
    """Make the platform's buckets."""
    s3.ensure_buckets(context.settings)


SERVER = Server(
    name="minio",
    programs=programs,
    check=check,
    ports=("minio_port", "minio_console_port"),
    parts=("minio",),
    finish=finish,
    page=lambda settings: f"http://{settings.bind_host}:{settings.minio_console_port}",
)
