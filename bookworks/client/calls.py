"""`Client`: one method an endpoint. A new one is an answer in `answers.py` and a method of one call here."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import uuid_utils
from pydantic import BaseModel, ValidationError

from bookworks.client import answers
from bookworks.client.errors import ServiceAwayError, problem_of, retry_after
from bookworks.contracts.records import ReaderKind
from bookworks.errors import TerminalError

A = TypeVar("A", bound=BaseModel)
Kind = Literal["all", "behaviour", "content", "author", "series"]
V1 = "/v1"
TIMEOUT_S = 10.0
TRIES = 4
WAIT_MAX_S = 30.0  # longer than this is not waited for
_AWAY = 503


@dataclass(frozen=True)
class Interaction:
    """One thing that a reader did with a book; `event_id` is given here, so that a repeat counts once."""

    kind: ReaderKind
    work_id: str | None = None
    edition_id: str | None = None
    user_id: str | None = None
    value: float | None = None
    occurred_at: datetime | None = None
    session_id: str | None = None
    surface: str | None = None
    decision_id: uuid.UUID | None = None
    position: int | None = None
    event_id: uuid.UUID = field(default_factory=lambda: uuid.UUID(str(uuid_utils.uuid7())))


@dataclass(frozen=True)
class Filters:
    """Which books are wanted; of a list one is enough."""

    languages: Sequence[str] = ()
    authors: Sequence[str] = ()
    subjects: Sequence[str] = ()
    year_from: int | None = None
    year_to: int | None = None


NO_FILTERS = Filters()
NO_CONTEXT: Mapping[str, str] = {}


class Client:
    """A connection to the service, for a calling service (`api_key`) or a reader (`token`); use it with `with`.

    After 503, and where the service cannot be reached, a call is tried again: after `Retry-After`, else after a second,
    two, four. Interactions go with the same event ids, so that each counts once. Calls that are good for one try,
    `signup` and `refresh`, are never tried again.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        tries: int = TRIES,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect at the first call.

        Args:
            url: of the service, without `/v1`.
            api_key: acts for any reader; methods then need `user_id`.
            token: acts for its reader.
            timeout_s: of one try.
            tries: of one call that may be repeated.
            transport: in place of the network.
            sleep: in place of waiting.
        """
        headers = {"X-API-Key": api_key} if api_key else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout_s, transport=transport, trust_env=False
        )
        self._tries, self._sleep = max(tries, 1), sleep

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connection."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def recommend(
        self,
        user_id: str | None = None,
        *,
        n: int = 10,
        surface: str = "home",
        exclude: Iterable[str] = (),
        explain: bool = False,
        filters: Filters = NO_FILTERS,
        session: Iterable[str] | None = None,
        context: Mapping[str, str] = NO_CONTEXT,
        cursor: str | None = None,
    ) -> answers.Recommendations:
        """Books for a reader, or for a visitor that has read the books of `session`; `cursor`: the next page."""
        body = _asked(user_id, n, surface, exclude, filters, session, context)
        return self._call(
            answers.Recommendations, "POST", "/recommend", body=body | {"explain": explain, "cursor": cursor}
        )

    def why_not(
        self,
        book: str,
        user_id: str | None = None,
        *,
        n: int = 10,
        surface: str = "home",
        exclude: Iterable[str] = (),
        filters: Filters = NO_FILTERS,
        session: Iterable[str] | None = None,
    ) -> answers.WhyNot:
        """What keeps a book out of the slate that `recommend` would give now."""
        body = _asked(user_id, n, surface, exclude, filters, session, NO_CONTEXT) | {"book": book}
        return self._call(answers.WhyNot, "POST", "/why-not", body=body)

    def decision(self, decision_id: uuid.UUID | str) -> answers.Decision:
        """A recent slate again."""
        return self._call(answers.Decision, "GET", f"/decisions/{_part(str(decision_id))}")

    def interactions(self, events: Iterable[Interaction]) -> answers.Interactions:
        """Store what readers did, at most 1,000; tried again with the same event ids."""
        body = {"events": [_plain(vars(event)) for event in events]}
        return self._call(answers.Interactions, "POST", "/interactions", body=body)

    def book(self, book_id: str) -> answers.Book:
        """One work, by work id, edition id or ISBN."""
        return self._call(answers.Book, "GET", f"/books/{_part(book_id)}")

    def similar(self, book_id: str, *, n: int = 10, kind: Kind = "all") -> answers.Similar:
        """Books like one."""
        return self._call(answers.Similar, "GET", f"/books/{_part(book_id)}/similar", query={"n": n, "kind": kind})

    def search(
        self,
        q: str,
        *,
        n: int = 10,
        language: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        author: str | None = None,
        subject: str | None = None,
        personalised: bool | None = None,
        user_id: str | None = None,
    ) -> answers.Search:
        """Books by words or ISBN; `personalised`: what the reader likes first, as it is where `user_id` is given."""
        query = {
            "q": q, "n": n, "language": language, "year_from": year_from, "year_to": year_to, "author": author,
            "subject": subject, "personalised": personalised, "user_id": user_id,
        }  # fmt: skip
        return self._call(answers.Search, "GET", "/search", query=query)

    def user(self, user_id: str) -> answers.User:
        """What is known of a reader."""
        return self._call(answers.User, "GET", f"/users/{_part(user_id)}")

    def signup(
        self,
        username: str,
        password: str,
        *,
        country: str | None = None,
        birth_year: int | None = None,
        authors: Iterable[str] = (),
        subjects: Iterable[str] = (),
        books: Iterable[str] = (),
    ) -> answers.Signup:
        """A new reader, with what it likes. Never repeated: after an error the account may be there all the same."""
        body = {
            "username": username, "password": password, "country": country, "birth_year": birth_year,
            "tastes": {"authors": list(authors), "subjects": list(subjects), "books": list(books)},
        }  # fmt: skip
        return self._call(answers.Signup, "POST", "/auth/signup", body=body, once=True)

    def refresh(self, refresh_token: str) -> answers.Token:
        """The next tokens of a session. Never repeated: a token is good for one use, and a second ends the session."""
        return self._call(answers.Token, "POST", "/auth/refresh", body={"refresh_token": refresh_token}, once=True)

    def logout(self, refresh_token: str) -> None:
        """End a session."""
        self._do("POST", "/auth/logout", body={"refresh_token": refresh_token})

    def history(self, user_id: str, *, n: int = 50, offset: int = 0) -> answers.History:
        """A page of a reader's history, the latest first."""
        return self._call(answers.History, "GET", f"/users/{_part(user_id)}/history", query={"n": n, "offset": offset})

    def forget(self, user_id: str, book_id: str) -> None:
        """Take a book out of a reader's history, for good."""
        self._do("DELETE", f"/users/{_part(user_id)}/history/{_part(book_id)}")

    def dismiss_author(self, user_id: str, author: str) -> None:
        """Recommend no book of this author, by id or name, to the reader any more."""
        self._do("PUT", f"/users/{_part(user_id)}/dismissed-authors/{_part(author)}")

    def take_back_author(self, user_id: str, author: str) -> None:
        """Books of this author may be recommended again."""
        self._do("DELETE", f"/users/{_part(user_id)}/dismissed-authors/{_part(author)}")

    def export(self, user_id: str) -> answers.Export:
        """All that the service keeps of a reader."""
        return self._call(answers.Export, "GET", f"/users/{_part(user_id)}/export")

    def login(self, username: str, password: str) -> answers.Token:
        """Tokens for a reader."""
        return self._call(answers.Token, "POST", "/auth/login", body={"username": username, "password": password})

    def current_models(self) -> answers.CurrentModels:
        """What serves now; for calling services."""
        return self._call(answers.CurrentModels, "GET", "/models/current")

    def ready(self) -> answers.Ready:
        """Which bundle serves.

        Raises:
            ServiceAwayError: none does yet.
        """
        return self._call(answers.Ready, "GET", "/readyz", version="")

    def _call(
        self,
        kind: type[A],
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        version: str = V1,
        once: bool = False,
    ) -> A:
        """One call, its answer read as `kind`.

        Args:
            kind: of the answer.
            method: of HTTP.
            path: below the version.
            query: fields of the address; those that are None are left out.
            body: sent as JSON; fields that are None are left out.
            version: of the interface.
            once: whether it is tried once only, as a repeat does harm where the first was heard.

        Raises:
            ProblemError: the service refused.
            ServiceAwayError: it did not answer in all tries.
            TerminalError: the answer is no such one.
        """
        answer = self._answered(method, version + path, query, body, once)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise TerminalError(
                "The service's answer is none that this client knows", received=answer.text[:200],
                todo="see that the address is the service's, and both are of one version.",
            ) from error  # fmt: skip

    def _do(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> None:
        """One call that is answered with nothing, and may be repeated; raises as `_call`."""
        self._answered(method, V1 + path, None, body, once=False)

    def _answered(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None, once: bool
    ) -> httpx.Response:
        sent = None if body is None else _plain(body)
        asked = self._http.build_request(method, path, params=_plain(query or {}), json=sent)
        answer = self._tried(asked, 1 if once else self._tries)
        if not answer.is_success:
            raise problem_of(answer)
        return answer

    def _tried(self, asked: httpx.Request, tries: int) -> httpx.Response:
        """The first answer of so many tries that is not 503."""
        for number in itertools.count(1):
            wait = 2.0 ** (number - 1)
            try:
                answer = self._http.send(asked)
            except httpx.TransportError as error:
                away = _unreached(error)
            else:
                if answer.status_code != _AWAY:
                    break
                problem, told = problem_of(answer), retry_after(answer)
                away = ServiceAwayError(problem.detail, received=_AWAY, todo=problem.todo)
                wait = wait if told is None else told
            if number == tries or wait > WAIT_MAX_S:
                raise away
            self._sleep(wait)
        return answer


def _unreached(error: httpx.TransportError) -> ServiceAwayError:
    return ServiceAwayError(
        "The service did not answer",
        received=f"{type(error).__name__}: {error}",
        todo="see whether it runs: `bookworks status`.",
    )


def _asked(
    user_id: str | None,
    n: int,
    surface: str,
    exclude: Iterable[str],
    filters: Filters,
    session: Iterable[str] | None,
    context: Mapping[str, str],
) -> dict[str, Any]:
    """What `/recommend` and `/why-not` are both asked; what says nothing is left out."""
    narrowed = {name: list(value) if isinstance(value, Sequence) else value for name, value in vars(filters).items()}
    return {
        "user_id": user_id,
        "n": n,
        "surface": surface,
        "exclude": list(exclude),
        "filters": None if filters == NO_FILTERS else narrowed,
        "session": None if session is None else {"history": list(session)},
        "context": dict(context) or None,
    }


def _part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """For JSON or an address, without what is None."""
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    return _plain(value) if isinstance(value, dict) else value
