"""Readers' accounts in Postgres, database `service_db`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from bookworks.errors import TransientError
from bookworks.settings import Settings
from serving.breaker import Breaker
from serving.problems import Problem

T = TypeVar("T")
_LOCK = 0x626F6F6B  # advisory lock: several workers make the table at the same time
_TABLE = """
create table if not exists accounts (
    user_id text primary key,
    username text not null unique,
    password_hash text not null,
    country text,
    birth_year integer,
    tastes jsonb not null default '[]',
    created_at timestamptz not null default now()
)"""
_COLUMNS = "user_id, username, password_hash, country, birth_year, tastes, created_at"
_WAIT_S = 2.0


@dataclass(frozen=True)
class Account:
    """One account."""

    user_id: str
    username: str
    password_hash: str
    country: str | None
    birth_year: int | None
    tastes: list[str]
    created_at: datetime


class Accounts:
    """The table of accounts; connects when first asked."""

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

    def add(
        self,
        user_id: str,
        username: str,
        password_hash: str,
        country: str | None,
        birth_year: int | None,
        tastes: list[str],
    ) -> bool:
        """Store an account; False when the name is taken.

        Raises:
            TransientError: Postgres does not answer.
            Problem: 422, a value that Postgres cannot hold.
        """
        statement = (
            "insert into accounts (user_id, username, password_hash, country, birth_year, tastes)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (username) do nothing"
        )
        values = (user_id, username, password_hash, country, birth_year, Jsonb(tastes))
        return self._call(lambda db: db.execute(statement, values).rowcount == 1)

    def by_name(self, username: str) -> Account | None:
        """The account of that name.

        Raises:
            TransientError: Postgres does not answer.
            Problem: 422, a value that Postgres cannot hold.
        """
        return self._one("username", username)

    def by_id(self, user_id: str) -> Account | None:
        """The account of that reader.

        Raises:
            TransientError: Postgres does not answer.
            Problem: 422, a value that Postgres cannot hold.
        """
        return self._one("user_id", user_id)

    def _one(self, column: str, value: str) -> Account | None:
        query = f"select {_COLUMNS} from accounts where {column} = %s"  # noqa: S608 - names of our own
        row = self._call(lambda db: db.execute(query, (value,)).fetchone())
        return None if row is None else Account(*row)

    def _call(self, do: Callable[[psycopg.Connection[Any]], T]) -> T:
        return self._breaker.call(lambda: self._guarded(do))

    def _guarded(self, do: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            self._pool.open()
            self._make_table()
            with self._pool.connection() as db:
                return do(db)
        except (psycopg.OperationalError, PoolTimeout, PoolClosed) as error:
            raise TransientError("The accounts cannot be reached", received=error) from error
        except psycopg.errors.UndefinedTable as error:
            self._made = False  # somebody dropped it; the next request makes it again
            raise TransientError("The table of accounts is gone", received=error) from error
        except psycopg.DataError as error:
            raise Problem(422, "A value cannot be kept", allowed="text without the NUL character") from error

    def _make_table(self) -> None:
        """Make the table in a transaction of its own, so that no later error can take it back."""
        with self._lock:
            if self._made:
                return
            with self._pool.connection() as db:
                db.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
                db.execute(_TABLE)
            self._made = True

    def close(self) -> None:
        """End the connections."""
        self._pool.close()
