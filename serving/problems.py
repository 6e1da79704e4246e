"""Errors as `application/problem+json` (RFC 9457): what was wrong, in which field, what was received and is allowed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from bookworks.errors import BookworksError, TransientError
from serving.audit import request_id
from serving.schemas import PATTERNS

logger = logging.getLogger("bookworks.serving")
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
JSON = "JSON in UTF-8 (RFC 8259)"
_SHOWN = 200
_DOOR = "/v1/auth/"  # secrets come here, also in a misspelt field or in place of the body
_NO_SECRETS = frozenset({"username", "country", "birth_year", "age", "tastes"})
_ALLOWED = {  # by the kind of pydantic's error, or its first word
    "missing": "it is needed", "extra_forbidden": "only the fields that /docs names",
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "list": "a list",
    "dict": "an object", "model": "an object", "uuid": "a UUID", "datetime": "a time as in RFC 3339",
    "timezone": "a time with its zone, as in RFC 3339", "finite": "a number",
}  # fmt: skip
_BOUNDS = {
    "ge": "at least {}", "le": "at most {}", "min_length": "a length of at least {}",
    "max_length": "a length of at most {}", "expected": "{}", "allowed": "{}",
}  # fmt: skip


class ProblemModel(BaseModel):
    """The body of every error."""

    type: str = Field("about:blank", description="Kind of problem.")
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="What was wrong.")
    field: str | None = Field(None, description="The field of the request that was wrong, for example `body.n`.")
    received: str | None = Field(None, description="What came, shortened.")
    allowed: str | None = Field(None, description="What would have been accepted.")
    todo: str | None = Field(None, description="What to do next.")


class Problem(Exception):
    """Raised by a route; becomes the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        received: object = None,
        allowed: str | None = None,
        todo: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.headers = status, headers or {}
        self.members = {"detail": detail, "field": field and field[:_SHOWN], "allowed": allowed, "todo": todo}
        self.members["received"] = None if received is None else str(received)[:_SHOWN]

    def body(self) -> dict[str, Any]:
        """The members of a `ProblemModel`."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            **{name: _encodable(value) for name, value in self.members.items() if value is not None},
        }

    def response(self) -> Response:
        """The HTTP answer."""
        return Response(orjson.dumps(self.body()), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def _encodable(text: str) -> str:
    """The text with halves of characters (surrogates), which JSON may escape but UTF-8 does not have, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def unavailable(error: BookworksError) -> Problem:
    """503 with Retry-After for a part that does not answer. Only our own words: what came may name servers."""
    return Problem(503, error.what, todo="try again shortly.", headers={"Retry-After": str(RETRY_AFTER_S)})


def _of_validation(path: str, error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    if first["type"] == "json_invalid":
        received = first.get("ctx", {}).get("error")
        return Problem(400, "The body is no valid JSON", field="body", received=received, allowed=JSON)
    return Problem(
        422,
        first["msg"].removeprefix("Value error, ") + more,
        field=".".join(str(part) for part in first["loc"]),
        received=None if first["type"] == "missing" else _received(path, first["loc"], first.get("input")),
        allowed=_allowed_by(first["type"], first.get("ctx", {})),
    )


def _allowed_by(kind: str, context: dict[str, Any]) -> str:
    """What pydantic's kind of error leaves to be sent, in words. Validators of our own say it in their message."""
    if "error" in context and kind == "value_error":
        return str(context["error"])
    if "pattern" in context:
        return PATTERNS.get(context["pattern"], context["pattern"])
    bounds = [words.format(context[name]) for name, words in _BOUNDS.items() if name in context]
    return ", ".join(bounds) or _ALLOWED.get(kind) or _ALLOWED.get(kind.partition("_")[0], "what /docs says of it")


def _received(path: str, place: Sequence[str | int], value: object) -> str:
    if path.startswith(_DOOR) and not _NO_SECRETS.intersection(place):
        return "(not shown)"
    return _short(value)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(str(name)[:_SHOWN] for name in list(value)[:10]) or 'no fields'}"
    return repr(value)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""

    @app.exception_handler(Problem)
    async def of_problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> Response:
        return _of_validation(request.url.path, error).response()

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        received = f"{request.method} {request.url.path}" if error.status_code in {404, 405} else None
        todo = "see /docs for the endpoints." if received else None
        allowed = "a path that /docs names" if received else None
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = allowed = _methods(request)
        return Problem(
            error.status_code, str(error.detail), received=received, allowed=allowed, todo=todo, headers=headers
        ).response()

    @app.exception_handler(BookworksError)
    async def of_bookworks(_: Request, error: BookworksError) -> Response:
        if isinstance(error, TransientError):
            return unavailable(error).response()
        return of_fault(error)

    @app.exception_handler(Exception)
    async def of_anything(_: Request, error: Exception) -> Response:
        return of_fault(error)


def _methods(request: Request) -> str:
    """The methods of all routes of this path: Starlette tells only those of the first."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))) or "GET"


def of_fault(error: Exception) -> Response:
    """500: our fault. The cause goes to the log, not to the caller."""
    name = request_id.get()
    logger.error("the request %s failed: %s: %s", name, type(error).__name__, error, exc_info=error)
    todo = "report it with the X-Request-ID of this answer."
    return Problem(500, "The service failed on this request", todo=todo).response()
