"""Readers' sessions in Postgres: a refresh token that is good for one use, and leads to the next of its family.

A session is one row, found by its family; it holds the hash of the one token that is good. Whoever comes with another
token of the family has an old one, which somebody else has used: then the session ends for both.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from bookworks import clock
from bookworks.settings import Settings
from serving.database import Database
from serving.keys import digest_of

_SECRET_BYTES = 32
_SEPARATOR = "."


class Session(NamedTuple):
    """A session after it was opened or refreshed."""

    user_id: str
    refresh_token: str


class Sessions:
    """The table of sessions."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._life, self._database = timedelta(days=settings.refresh_days), database

    def open(self, user_id: str) -> Session:
        """A new session; those that ran out are removed.

        Raises:
            TransientError: Postgres does not answer.
        """
        return self._database.call(lambda db: self.open_in(db, user_id))

    def open_in(self, db: psycopg.Connection[Any], user_id: str) -> Session:
        """As `open`, in a transaction that runs."""
        family, now = uuid.uuid4(), clock.now()
        token = _token(family)
        db.execute("delete from sessions where expires_at <= %s", (now,))
        db.execute(
            "insert into sessions (family, user_id, digest, expires_at) values (%s, %s, %s, %s)",
            (family, user_id, digest_of(token), now + self._life),
        )
        return Session(user_id, token)

    def refresh(self, token: str) -> Session | None:
        """The session with its next token; None when this one is not good, which ends the session if it was once.

        Raises:
            TransientError: Postgres does not answer.
        """
        family, now = _family(token), clock.now()
        if family is None:
            return None
        following = _token(family)
        values = (digest_of(following), now + self._life, family, digest_of(token), now)
        user_id = self._database.call(lambda db: _rotate(db, values))
        return None if user_id is None else Session(user_id, following)

    def close(self, token: str) -> str | None:
        """End the session of a token, old or new; returns its reader, None when there was none.

        Raises:
            TransientError: Postgres does not answer.
        """
        family = _family(token)
        if family is None:
            return None
        return self._database.call(lambda db: _end(db, family))


def _rotate(db: psycopg.Connection[Any], values: tuple[bytes, datetime, uuid.UUID, bytes, datetime]) -> str | None:
    """Put the next token in the place of the one that came; if that was not the good one, end the session.

    Of two that come with the same token at once, the row's lock lets one through, and the other finds it spent.
    """
    row = db.execute(
        "update sessions set digest = %s, expires_at = %s"
        " where family = %s and digest = %s and expires_at > %s returning user_id",
        values,
    ).fetchone()
    if row is None:
        _end(db, values[2])
        return None
    return str(row[0])


def _end(db: psycopg.Connection[Any], family: uuid.UUID) -> str | None:
    row = db.execute("delete from sessions where family = %s returning user_id", (family,)).fetchone()
    return None if row is None else str(row[0])


def _token(family: uuid.UUID) -> str:
    return f"{family.hex}{_SEPARATOR}{secrets.token_urlsafe(_SECRET_BYTES)}"


def _family(token: str) -> uuid.UUID | None:
    """The family that a token names, or None when it is none of ours."""
    try:
        return uuid.UUID(token.partition(_SEPARATOR)[0])
    except ValueError:
        return None
