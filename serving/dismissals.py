"""Authors whom readers do not want to be shown: for good in Postgres, and in Redis, where each recommendation looks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from bookworks.errors import BookworksError, TransientError
from serving.database import Database
from serving.repeat import Repeated

logger = logging.getLogger("bookworks.serving")
_EVERY_S = 10.0


class DismissedAuthors:
    """The table of dismissed authors: ids or names, as readers gave them; which works are theirs, the bundle says."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user_id: str, author: str) -> None:
        """Keep one; a second time changes nothing.

        Raises:
            TransientError: Postgres does not answer.
        """
        statement = "insert into dismissed_authors (user_id, author) values (%s, %s) on conflict do nothing"
        self._database.call(lambda db: db.execute(statement, (user_id, author)))

    def remove(self, user_id: str, authors: list[str]) -> None:
        """Take some back.

        Raises:
            TransientError: Postgres does not answer.
        """
        statement = "delete from dismissed_authors where user_id = %s and author = any(%s)"
        self._database.call(lambda db: db.execute(statement, (user_id, authors)))

    def of(self, user_id: str) -> list[str]:
        """Those of one reader, sorted.

        Raises:
            TransientError: Postgres does not answer.
        """
        query = "select author from dismissed_authors where user_id = %s order by author"
        return [row[0] for row in self._database.call(lambda db: db.execute(query, (user_id,)).fetchall())]

    def hand_on(self, write: Callable[[dict[str, list[str]]], None]) -> int:
        """Call `write` with those of every reader who has any; returns how many readers these are.

        Nobody adds or removes one meanwhile, so that what is written here is not older than what is written there.

        Raises:
            TransientError: Postgres does not answer, or `write` raised it.
        """
        query = "select user_id, array_agg(author) from dismissed_authors group by user_id"

        def locked(db: psycopg.Connection[Any]) -> int | TransientError:
            db.execute("lock table dismissed_authors in share mode")
            found = dict(db.execute(query).fetchall())
            try:
                write(found)
            except TransientError as error:
                return error  # no fault of Postgres, whose breaker stays closed
            return len(found)

        readers = self._database.call(locked)
        if isinstance(readers, TransientError):
            raise readers
        return readers


class Source(Protocol):
    """Where they are kept for good."""

    def hand_on(self, write: Callable[[dict[str, list[str]]], None]) -> int:
        """Call `write` with those of every reader; returns how many readers these are."""


class Target(Protocol):
    """Where they are looked for."""

    def has_dismissed_authors(self) -> bool:
        """Whether they were written since Redis was last empty."""

    def restore_dismissed_authors(self, authors: dict[str, list[str]]) -> None:
        """Write them all."""


class Restorer:
    """Writes all dismissed authors into a Redis that has lost what it had."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source, self._target = source, target
        self._repeated = Repeated("dismissals", _EVERY_S, self.check)

    def start(self) -> None:
        """Look at once, then again and again; waits for nothing."""
        self._repeated.start()

    def close(self) -> None:
        """Stop looking."""
        self._repeated.close()

    def check(self) -> None:
        """One look; while Redis or Postgres is away the next one tries again."""
        try:
            if self._target.has_dismissed_authors():
                return
            readers = self._source.hand_on(self._target.restore_dismissed_authors)
        except BookworksError:
            return
        logger.info("dismissed authors of %d readers are in Redis again", readers)
