"""Postgres: connections to the platform's databases."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from bookworks.errors import TransientError
from bookworks.settings import Settings


def connect(settings: Settings, database: str, **options: Any) -> psycopg.Connection[Any]:
    """A connection to one database.

    Raises:
        TransientError: no answer, or the password was refused.
    """
    try:
        return psycopg.connect(settings.postgres_dsn(database), connect_timeout=5, **options)
    except psycopg.OperationalError as error:
        raise TransientError(
            f"Postgres does not let us in at {settings.postgres_host}:{settings.postgres_port}/{database}",
            received=str(error).strip(),
            todo="check `bookworks status postgres` and the BOOKWORKS_POSTGRES_… settings.",
        ) from error


def ensure_databases(settings: Settings) -> None:
    """Make the platform's databases where they are missing."""
    wanted = (settings.warehouse_db, settings.service_db, settings.mlflow_db, settings.optuna_db, settings.airflow_db)
    with connect(settings, "postgres", autocommit=True) as db:
        present = {row[0] for row in db.execute("select datname from pg_database")}
        for name in wanted:
            if name not in present:
                db.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
