"""Readers' accounts in Postgres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from serving.database import Database

T = TypeVar("T")
_COLUMNS = "user_id, username, password_hash, country, birth_year, tastes, created_at"


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
    """The table of accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        user_id: str,
        username: str,
        password_hash: str,
        country: str | None,
        birth_year: int | None,
        tastes: list[str],
        then: Callable[[psycopg.Connection[Any], str], T],
    ) -> T | None:
        """Store an account, and with it what `then` does for its reader: both or neither; None: the name is taken.

        Raises:
            TransientError: Postgres does not answer.
            Problem: 422, a value that Postgres cannot hold.
        """
        statement = (
            "insert into accounts (user_id, username, password_hash, country, birth_year, tastes)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (username) do nothing"
        )
        values = (user_id, username, password_hash, country, birth_year, Jsonb(tastes))
        return self._database.call(
            lambda db: then(db, user_id) if db.execute(statement, values).rowcount == 1 else None
        )

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
        row = self._database.call(lambda db: db.execute(query, (value,)).fetchone())
        return None if row is None else Account(*row)
