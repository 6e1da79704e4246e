"""Who calls: a reader with a token (JWT), or a calling service with a key. Passwords are kept as argon2 hashes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from bookworks import clock
from bookworks.settings import Settings
from serving import audit, rates
from serving.keys import Key
from serving.problems import Problem

if TYPE_CHECKING:
    from serving.platform import Platform

ALGORITHM = "HS256"
ISSUER = "bookworks"
_REQUIRED = ["exp", "iat", "iss", "sub"]
SAY_WHO = "send Authorization: Bearer … (a reader) or X-API-Key (a calling service)."
_HASHES_AT_ONCE = 2  # each takes 64 MiB and a core for tens of milliseconds

_bearer = HTTPBearer(auto_error=False, description="A reader's token from /v1/auth/signup or /v1/auth/login.")
_key = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="The key of a calling service; acts for any reader, where it has the scope that is named.",
)


@dataclass(frozen=True)
class Caller:
    """Who sent the request.

    Attributes:
        user_id: the reader, or None for a calling service, which may act for any.
        key: name of the service's key, or None for a reader.
    """

    user_id: str | None
    key: str | None = None

    def reader(self, wanted: str | None, field: str) -> str:
        """The reader to act for.

        Raises:
            Problem: 403 when a service names none, and when a reader names another.
        """
        if self.user_id is None:
            if wanted is None:
                raise Problem(403, "A calling service must say for which reader", field=field, allowed="a user_id")
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
        raise unauthorised("The token has expired", "log in again: POST /v1/auth/login.") from None
    except jwt.PyJWTError:
        raise unauthorised("The token is not one of ours", "log in: POST /v1/auth/login.") from None
    return str(claims["sub"])


def unauthorised(
    detail: str, todo: str | None = None, field: str | None = None, allowed: str = "a good token or key"
) -> Problem:
    """401, with the header that goes with it (RFC 9110)."""
    headers = {"WWW-Authenticate": 'Bearer realm="bookworks"'}
    return Problem(401, detail, field=field, allowed=allowed, todo=todo, headers=headers)


async def caller(
    request: Request,
    wanted: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    key: Annotated[str | None, Depends(_key)],
) -> Caller:
    """The caller of a request; a token wins over a key, and a wrong one is never passed over.

    Raises:
        Problem: 401 without either, or when the one that came is wrong; 403, the key lacks a scope of the route; 429,
            the caller has had its calls of this minute.
    """
    platform: Platform = request.app.state.platform
    _check_scheme(request, bearer)
    if bearer is not None:
        audit.called_by(request, "reader", None)
        user_id = read(platform.settings, bearer.credentials)
        audit.called_by(request, "reader", user_id)
        await rates.take(platform, wanted.scopes[0], "reader", user_id)
        return Caller(user_id)
    if key is None:
        raise unauthorised("Who calls?", SAY_WHO)
    audit.called_by(request, "key", None)
    found = platform.keys.find(key)
    if found is None:
        raise unauthorised("The X-API-Key is wrong or revoked", "see `bookworks keys list` at the service.")
    audit.called_by(request, "key", found.name)
    _check_scopes(found, wanted.scopes)
    await rates.take(platform, wanted.scopes[0], "key", found.name)
    return Caller(None, key=found.name)


async def caller_if_any(
    request: Request,
    wanted: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    key: Annotated[str | None, Depends(_key)],
) -> Caller | None:
    """The caller of a request that needs none.

    Raises:
        Problem: as `caller`, when a token or key came; 429, too many calls from this address.
    """
    _check_scheme(request, bearer)
    if bearer is None and key is None:
        await rates.count_address(request, wanted.scopes[0])
        return None
    return await caller(request, wanted, bearer, key)


def _check_scheme(request: Request, bearer: HTTPAuthorizationCredentials | None) -> None:
    """A header that is there is never passed over."""
    if bearer is None and "authorization" in request.headers:
        raise unauthorised("The Authorization header is no bearer token", "send Authorization: Bearer …, or none.")


def _check_scopes(key: Key, wanted: list[str]) -> None:
    lacking = [scope for scope in wanted if scope not in key.scopes]
    if lacking:
        raise Problem(
            403,
            f"The key lacks the scope {lacking[0]}",
            field="header.X-API-Key",
            received=f"the key {key.name} with {', '.join(sorted(key.scopes)) or 'no scope'}",
            allowed=f"a key with the scope {', '.join(wanted)}",
            todo="use another key, or have one made: `bookworks keys create`.",
        )


# Who may call a route: a reader for itself, or a service whose key has the scope. Calls are counted by the first scope.
RecommendCaller = Annotated[Caller, Security(caller, scopes=["recommend"])]
RecommendCallerIfAny = Annotated[Caller | None, Security(caller_if_any, scopes=["recommend"])]
InteractionsCaller = Annotated[Caller, Security(caller, scopes=["interactions"])]
UsersCaller = Annotated[Caller, Security(caller, scopes=["users"])]
DecisionsCaller = Annotated[Caller, Security(caller, scopes=["decisions"])]
AdminCaller = Annotated[Caller, Security(caller, scopes=["admin"])]
