"""Who calls: a reader with a token (JWT), or a calling service with its key. Passwords are kept as argon2 hashes."""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from bookworks import clock
from bookworks.settings import Settings
from serving.problems import Problem

ALGORITHM = "HS256"
ISSUER = "bookworks"
_REQUIRED = ["exp", "iat", "iss", "sub"]
_HASHES_AT_ONCE = 2  # each takes 64 MiB and a core for tens of milliseconds

_bearer = HTTPBearer(auto_error=False, description="A reader's token from /v1/auth/signup or /v1/auth/login.")
_key = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="The key of a calling service; acts for any reader."
)


@dataclass(frozen=True)
class Caller:
    """Who sent the request.

    Attributes:
        user_id: the reader, or None for a calling service, which may act for any.
    """

    user_id: str | None

    def reader(self, wanted: str | None, field: str) -> str:
        """The reader to act for.

        Raises:
            Problem: 422 when a service names none; 403 when a reader names another.
        """
        if self.user_id is None:
            if wanted is None:
                raise Problem(422, "A calling service must say for which reader", field=field, allowed="a user_id")
            return wanted
        if wanted is not None and wanted != self.user_id:
            raise Problem(
                403, "A reader acts for itself only", field=field, received=wanted, allowed="your own user_id or none"
            )
        return self.user_id

    def service(self) -> None:
        """Let only a calling service on.

        Raises:
            Problem: 403 for a reader.
        """
        if self.user_id is not None:
            raise Problem(
                403, "This is for calling services", allowed="X-API-Key", todo="leave out the reader's token."
            )


class Passwords:
    """Hashes and checks passwords, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._gate = threading.BoundedSemaphore(_HASHES_AT_ONCE)
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """The argon2id hash, with its salt and parameters."""
        with self._gate:
            return self._hasher.hash(password)

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether the password is right; takes as long when there is no such account (`kept` is None)."""
        with self._gate:
            try:
                return self._hasher.verify(kept or self._nobody, password) and kept is not None
            except (VerificationError, InvalidHashError):
                return False


def issue(settings: Settings, user_id: str, now: datetime | None = None) -> tuple[str, int]:
    """A token for a reader and its life in seconds."""
    now = now or clock.now()
    life = timedelta(minutes=settings.jwt_minutes)
    claims = {"sub": user_id, "iss": ISSUER, "iat": now, "exp": now + life}
    token = jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm=ALGORITHM)
    return token, int(life.total_seconds())


def read(settings: Settings, token: str) -> str:
    """The reader of a token.

    Raises:
        Problem: 401, with the reason, when the token is not one of ours or no longer good.
    """
    try:
        claims = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            options={"require": _REQUIRED},
        )
    except jwt.ExpiredSignatureError:
        raise _unauthorised("The token has expired", "log in again: POST /v1/auth/login.") from None
    except jwt.PyJWTError:
        raise _unauthorised("The token is not one of ours", "log in: POST /v1/auth/login.") from None
    return str(claims["sub"])


def _unauthorised(detail: str, todo: str) -> Problem:
    return Problem(401, detail, todo=todo, headers={"WWW-Authenticate": 'Bearer realm="bookworks"'})


def _is_key(settings: Settings, received: str) -> bool:
    kept = settings.service_api_key.get_secret_value()
    return bool(kept) and hmac.compare_digest(received.encode(), kept.encode())


async def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    key: Annotated[str | None, Depends(_key)],
) -> Caller:
    """The caller of a request; a token wins over a key, and a wrong one is never passed over.

    Raises:
        Problem: 401 without either, or when the one that came is wrong.
    """
    settings: Settings = request.app.state.platform.settings
    if bearer is not None:
        return Caller(read(settings, bearer.credentials))
    if key is not None:
        if _is_key(settings, key):
            return Caller(None)
        raise _unauthorised("The X-API-Key is wrong", "see BOOKWORKS_SERVICE_API_KEY of the service.")
    raise _unauthorised("Who calls?", "send Authorization: Bearer … (a reader) or X-API-Key (a calling service).")


async def caller_if_any(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    key: Annotated[str | None, Depends(_key)],
) -> Caller | None:
    """The caller of a request that needs none.

    Raises:
        Problem: 401 when the token or key that came is wrong.
    """
    return None if bearer is None and key is None else await caller(request, bearer, key)


CallerDep = Annotated[Caller, Depends(caller)]
