"""ClickHouse over HTTP: a client, and the platform's tables."""

from __future__ import annotations

from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from bookworks.contracts.clickhouse import TABLES, add_later_columns, create_table
from bookworks.errors import TransientError
from bookworks.settings import Settings


def connect(settings: Settings, database: str | None = None, **options: Any) -> Client:
    """A client of the platform's database.

    Raises:
        TransientError: no answer, or the password was refused.
    """
    try:
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=database or settings.clickhouse_database,
            connect_timeout=5,
            compress=False,
            **options,
        )
    except ClickHouseError as error:
        raise TransientError(
            f"ClickHouse does not let us in at {settings.clickhouse_host}:{settings.clickhouse_port}",
            received=str(error).strip(),
            todo="check `bookworks status clickhouse` and the BOOKWORKS_CLICKHOUSE_… settings.",
        ) from error


def ensure_tables(settings: Settings) -> None:
    """Make the platform's database, tables and columns where they are missing."""
    root = connect(settings, database="default")
    root.command(f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse_database}")
    client = connect(settings)
    for name in TABLES:
        client.command(create_table(name))
        for statement in add_later_columns(name):
            client.command(statement)
