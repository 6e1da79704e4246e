"""Postgres, database `service_db`: what the service keeps for good. Each table belongs to one module of the service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from bookworks.errors import TransientError
from bookworks.settings import Settings
from serving.breaker import Breaker
from serving.problems import Problem

T = TypeVar("T")
_LOCK = 0x626F6F6B  # advisory lock: several workers make the tables at the same time
TABLES = (
    """
create table if not exists accounts (
    user_id text primary key,
    username text not null unique,
    password_hash text not null,
    country text,
    birth_year integer,
    tastes jsonb not null default '[]',
    created_at timestamptz not null default now()
)""",
    """
create table if not exists api_keys (
    name text primary key,
    digest bytea not null unique,
    scopes text[] not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
)""",
    """
create table if not exists sessions (
    family uuid primary key,
    user_id text not null references accounts on delete cascade,
    digest bytea not null,
    expires_at timestamptz not null
)""",
    """
create table if not exists dismissed_authors (
    user_id text not null,
    author text not null,
    created_at timestamptz not null default now(),
    primary key (user_id, author)
)""",
    "create index if not exists sessions_expires_at on sessions (expires_at)",
    "create index if not exists sessions_user_id on sessions (user_id)",
)
_WAIT_S = 2.0


class Database:
    """A few connections to the service's tables, made when first asked; all that use them share the breaker."""

    def __init__(self, settings: Settings) -> None:
        self._breaker = Breaker("Postgres")
        self._lock, self._made = threading.Lock(), False
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            settings.postgres_dsn(settings.service_db),
            min_size=0,
            max_size=4,
            timeout=_WAIT_S,
            reconnect_timeout=_WAIT_S,
            kwargs={"connect_timeout": 2},
            open=False,
        )

    def call(self, do: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The result of `do`, in a transaction of its own.

        Raises:
            TransientError: Postgres does not answer.
            Problem: 422, a value that Postgres cannot hold.
        """
        return self._breaker.call(lambda: self._guarded(do))

    def _guarded(self, do: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            self._pool.open()
            self._make_tables()
            with self._pool.connection() as db:
                return do(db)
        except (psycopg.OperationalError, PoolTimeout, PoolClosed) as error:
            raise TransientError("The accounts cannot be reached", received=error) from error
        except psycopg.errors.UndefinedTable as error:
            self._made = False  # somebody dropped it; the next request makes it again
            raise TransientError("A table of the accounts is gone", received=error) from error
        except psycopg.DataError as error:
            raise Problem(422, "A value cannot be kept", allowed="text without the NUL character") from error

    def _make_tables(self) -> None:
        """Make the tables in a transaction of their own, so that no later error can take them back."""
        with self._lock:
            if self._made:
                return
            with self._pool.connection() as db:
                db.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
                for table in TABLES:
                    db.execute(table)
            self._made = True

    def close(self) -> None:
        """End the connections."""
        self._pool.close()
