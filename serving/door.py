"""Signing up, with tastes asked at the door, logging in and out, and going on."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response

from bookworks import clock
from bookworks.contracts.online import LOGIN_WINDOW_S
from bookworks.contracts.records import Event, Reader
from bookworks.countries import country_code
from bookworks.errors import TransientError
from serving import audit, auth, metrics, rates, schemas
from serving.lane import Lane
from serving.pipeline import HISTORY
from serving.platform import Platform
from serving.problems import RETRY_AFTER_S, Problem
from serving.routes import SOURCE, new_id, platform_of, problems
from serving.sessions import Session

router = APIRouter(prefix="/auth", tags=["auth"], dependencies=[rates.by_address("auth")])
SURFACE = "signup"
_LANE = Lane("the door", threads=4, waiting_max=16)  # password hashes take long, and only two are made at once
_SIGN_UPS = Lane("sign-ups", threads=2, waiting_max=8)  # they wait for Kafka, too: log-ins must not wait behind them


@router.post(
    "/signup",
    status_code=201,
    response_model=schemas.SignupResponse,
    responses=problems(400, 408, 409, 413, 415, 422, 429, 503),
    summary="A new reader",
)
async def signup(body: schemas.SignupRequest, request: Request) -> Any:
    """Make an account, with what the reader likes, and give tokens. The loved books count as read."""
    platform = platform_of(request)
    answer = await _SIGN_UPS.run(lambda: sign_up(platform, body))
    audit.concerns(request, answer["user_id"])
    return answer


def sign_up(platform: Platform, body: schemas.SignupRequest) -> dict[str, Any]:
    """The new reader: first into the stream, then into the accounts, so that no account lacks its record.

    When the account then cannot be made, a record stays of a reader who never comes, which harms nothing.

    Raises:
        Problem: 409, the name is taken; 503, neither Kafka nor the spool took the record, and there is no account.
        TransientError: Postgres does not answer.
    """
    if platform.accounts.by_name(body.username) is not None:
        raise _taken(body.username)
    user_id = f"u-{new_id()}"
    country = country_code(body.country)
    tastes = [*body.tastes.authors, *body.tastes.subjects]
    birth_year = body.birth_year or (clock.now().year - body.age if body.age is not None else None)
    kept = platform.passwords.hash(body.password)
    loved, unknown = _loved(platform, user_id, body.tastes.books)
    profile = {"country": country, "birth_year": birth_year, "tastes": tastes}
    waits = _tell_stream(platform, user_id, profile, loved)
    session = platform.accounts.add(
        user_id, body.username, kept, country, birth_year, tastes, then=platform.sessions.open_in
    )
    if session is None:
        raise _taken(body.username)
    fallbacks = [*waits, *_tell_history(platform, user_id, profile, loved)]
    return {**_tokens(platform, session), "unknown_books": unknown, "fallbacks": fallbacks}


def _tokens(platform: Platform, session: Session) -> dict[str, Any]:
    """The part of an answer that lets a reader in."""
    token, life = auth.issue(platform.settings, session.user_id)
    return {
        "user_id": session.user_id,
        "access_token": token,
        "refresh_token": session.refresh_token,
        "expires_in": life,
    }


def _taken(username: str) -> Problem:
    return Problem(
        409, "The name is taken", field="body.username", received=username, allowed="a name that nobody has",
        todo="choose another, or log in.",
    )  # fmt: skip


def _loved(platform: Platform, user_id: str, books: list[str]) -> tuple[list[Event], list[str]]:
    """An event for each loved book that the catalogue has, and the books that it has not."""
    served = platform.bundles.current
    if served is None:
        return [], list(books)
    catalogue = served.catalogue
    found = {book: catalogue.index(book) for book in books}
    books_of: dict[int, str] = {}
    for book, index in found.items():
        if index is not None:
            books_of.setdefault(index, book)
    now = clock.now()
    events = [
        Event(
            source=SOURCE,
            received_at=now,
            occurred_at=now,
            event_id=new_id(),
            kind="shelve",
            user_id=user_id,
            edition_id=None if catalogue.is_work(book) else book,
            work_id=catalogue.work_ids[index],
            surface=SURFACE,
        )
        for index, book in books_of.items()
    ]
    return events, [book for book, index in found.items() if index is None]


def _tell_stream(platform: Platform, user_id: str, profile: dict[str, Any], loved: list[Event]) -> list[str]:
    """Accept the reader and the loved books; returns what was away."""
    now = clock.now()
    age = now.year - profile["birth_year"] if profile["birth_year"] is not None else None
    try:
        reader = Reader(
            source=SOURCE,
            received_at=now,
            user_id=user_id,
            country=profile["country"],
            age=age,
            tastes=profile["tastes"],
        )
        return platform.intake.take(loved, reader)
    except TransientError as error:
        raise Problem(
            503,
            "The stream did not confirm in time; no account was made",
            todo="sign up again shortly.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        ) from error


def _tell_history(platform: Platform, user_id: str, profile: dict[str, Any], loved: list[Event]) -> list[str]:
    """Tell the online history, which the stream's consumer writes again later; returns what was away."""
    try:
        platform.history.save_profile(user_id, profile)
        platform.history.remember(loved)
    except TransientError:
        metrics.FALLBACKS.labels(HISTORY).inc()
        return [HISTORY]
    return []


@router.post(
    "/login",
    response_model=schemas.TokenResponse,
    responses=problems(400, 401, 408, 413, 415, 422, 429, 503),
    summary="Tokens for a reader",
)
async def login(body: schemas.LoginRequest, request: Request) -> Any:
    """Give tokens for name and password."""
    platform, address = platform_of(request), request.client.host if request.client else ""
    answer = await _LANE.run(lambda: log_in(platform, body, address))
    audit.concerns(request, answer["user_id"])
    return answer


def log_in(platform: Platform, body: schemas.LoginRequest, address: str) -> dict[str, Any]:
    """Tokens; an attempt counts before the password is looked at, and a success begins the count anew.

    Raises:
        Problem: 401, name or password is wrong; 429, too many of these in a minute.
        TransientError: Postgres does not answer.
    """
    account = platform.accounts.by_name(body.username)
    who = hashlib.sha256(f"{body.username}\n{address}".encode()).hexdigest()
    _count(platform, who)
    if not platform.passwords.verify(account.password_hash if account else None, body.password) or account is None:
        raise auth.unauthorised("Name or password is wrong", allowed="a name and its own password")
    with suppress(TransientError):
        platform.history.forget_logins(who)
    return _tokens(platform, platform.sessions.open(account.user_id))


def _count(platform: Platform, who: str) -> None:
    """Count an attempt; without Redis there is no limit."""
    limit = platform.settings.login_attempts_per_minute
    try:
        attempts = platform.history.count_login(who)
    except TransientError:
        return
    if attempts > limit:
        raise Problem(
            429,
            "Too many failed log-ins",
            allowed=f"{limit} a minute",
            todo="wait a minute.",
            headers={"Retry-After": str(LOGIN_WINDOW_S)},
        )


@router.post(
    "/refresh",
    response_model=schemas.TokenResponse,
    responses=problems(400, 401, 408, 413, 415, 422, 429, 503),
    summary="The next tokens of a session",
)
async def refresh(body: schemas.RefreshRequest, request: Request) -> Any:
    """Give the next tokens. A refresh token is good for one use: whoever sends it again ends the session."""
    platform = platform_of(request)
    session = await _LANE.run(lambda: platform.sessions.refresh(body.refresh_token))
    if session is None:
        raise auth.unauthorised(
            "The refresh token is wrong, spent, or of a session that has ended",
            "log in again: POST /v1/auth/login.",
            field="body.refresh_token",
            allowed="the last refresh token of a session that goes on",
        )
    audit.concerns(request, session.user_id)
    return _tokens(platform, session)


@router.post(
    "/logout",
    status_code=204,
    response_class=Response,
    responses=problems(400, 408, 413, 415, 422, 429, 503),
    summary="End a session",
)
async def logout(body: schemas.RefreshRequest, request: Request) -> None:
    """End the session of a refresh token. A session that is not there has ended already: the answer is the same.

    Access tokens that were given stay good until they expire.
    """
    platform = platform_of(request)
    user_id = await _LANE.run(lambda: platform.sessions.close(body.refresh_token))
    if user_id is not None:
        audit.concerns(request, user_id)
