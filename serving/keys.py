"""API keys of calling services: kept hashed in Postgres, known to each worker, made by `bookworks keys`."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

from bookworks.errors import BookworksError, TerminalError
from bookworks.settings import Settings
from serving.database import Database
from serving.repeat import Repeated

logger = logging.getLogger("bookworks.serving")

Scope = Literal["recommend", "interactions", "users", "decisions", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SETTING = "setting"  # name of the key in BOOKWORKS_SERVICE_API_KEY; no other may have it
_SECRET_BYTES = 32  # as long as the digest: guessing is hopeless, so no slow hash is needed
_COLUMNS = "name, digest, scopes, created_at, revoked_at"


@dataclass(frozen=True)
class Key:
    """One key; its secret is known to nobody but who got it.

    Attributes:
        name: whose it is.
        digest: SHA-256 of the secret.
        scopes: what it may be used for; see `Scope`.
        created_at, revoked_at: None where it does not apply.
    """

    name: str
    digest: bytes
    scopes: frozenset[str]
    created_at: datetime | None = None
    revoked_at: datetime | None = None


def digest_of(secret: str) -> bytes:
    """What is kept of a long random secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Keys:
    """The table of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Sequence[Scope]) -> str:
        """Make a key; returns its secret, which is kept nowhere.

        Raises:
            TerminalError: the name is or was in use.
            TransientError: Postgres does not answer.
        """
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        statement = "insert into api_keys (name, digest, scopes) values (%s, %s, %s) on conflict (name) do nothing"
        values = (name, digest_of(secret), sorted(set(scopes)))
        made = name != SETTING and self._database.call(lambda db: db.execute(statement, values).rowcount == 1)
        if not made:
            raise TerminalError(
                "There is or was a key of this name",
                received=name,
                allowed="a name that no key ever had, so that old log lines stay true",
                todo="choose another; `bookworks keys list` shows them.",
            )
        return secret

    def revoke(self, name: str) -> Key:
        """End a key for good; one that has ended stays as it is.

        Raises:
            TerminalError: there is none of this name.
            TransientError: Postgres does not answer.
        """
        statement = f"update api_keys set revoked_at = coalesce(revoked_at, now()) where name = %s returning {_COLUMNS}"  # noqa: S608 - names of our own
        row = self._database.call(lambda db: db.execute(statement, (name,)).fetchone())
        if row is None:
            raise TerminalError("There is no key of this name", received=name, todo="see `bookworks keys list`.")
        return _key(row)

    def all(self) -> list[Key]:
        """Every key that there ever was, the oldest first.

        Raises:
            TransientError: Postgres does not answer.
        """
        query = f"select {_COLUMNS} from api_keys order by created_at, name"  # noqa: S608 - names of our own
        return [_key(row) for row in self._database.call(lambda db: db.execute(query).fetchall())]


def _key(row: tuple[str, bytes, list[str], datetime, datetime | None]) -> Key:
    name, digest, scopes, created_at, revoked_at = row
    return Key(name, bytes(digest), frozenset(scopes), created_at, revoked_at)


class Source(Protocol):
    """Where the keys are kept."""

    def all(self) -> list[Key]:
        """Every key, also revoked ones."""


class KeyRing:
    """The keys that count in this worker, read again and again by a thread; without Postgres the last known go on."""

    def __init__(self, settings: Settings, source: Source) -> None:
        secret = settings.service_api_key.get_secret_value()
        self._own = [Key(SETTING, digest_of(secret), frozenset(SCOPES))] if secret else []
        self._source = source
        self._known: list[Key] = self._own
        self._said_away = False
        self._repeated = Repeated("keys", settings.api_keys_seconds, self.refresh)

    def start(self) -> None:
        """Read the keys, then again every `api_keys_seconds`; waits for nothing."""
        self._repeated.start()

    def close(self) -> None:
        """Stop reading."""
        self._repeated.close()

    def find(self, secret: str) -> Key | None:
        """The key with this secret; takes as long whichever it is."""
        digest, found = digest_of(secret), None
        for key in self._known:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def refresh(self) -> None:
        """Look at the table once."""
        try:
            kept = self._source.all()
        except BookworksError as error:
            if not self._said_away:
                logger.warning("keys stay as they were last known: %s", error.what)
            self._said_away = True
            return
        self._said_away = False
        self._known = [*self._own, *(key for key in kept if key.revoked_at is None)]
