"""The ClickHouse engine behind its HTTP interface (`infra.local.clickhouse_server`)."""

from __future__ import annotations

import sys

import httpx

from bookworks.adapters import clickhouse
from infra.local.server import Context, Program, Server


def programs(context: Context) -> list[Program]:
    """The server; it finds its settings by itself."""
    argv = [sys.executable, "-m", "infra.local.clickhouse_server", str(context.data("clickhouse"))]
    return [Program("clickhouse", argv)]


def check(context: Context) -> None:
    """Ask for 1 with the password."""
    url = f"http://{context.settings.bind_host}:{context.settings.clickhouse_port}/ping"
    httpx.get(url, timeout=5).raise_for_status()  # the client would log an error for each vain attempt
    client = clickhouse.connect(context.settings, database="default")
    try:
        client.command("SELECT 1")
    finally:
        client.close()


def finish(context: Context) -> None:
    """Make the platform's tables."""
    clickhouse.ensure_tables(context.settings)


SERVER = Server(
    name="clickhouse",
    programs=programs,
    check=check,
    ports=("clickhouse_port",),
    finish=finish,
)
