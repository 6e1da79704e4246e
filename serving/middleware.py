"""ASGI layers around the service: BentoML's metrics with bounded labels, our own probes first, limits of requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from cachetools import LRUCache
from pydantic_core import from_json

from serving.audit import AS_IT_CAME, App, Audited, Receive, Scope, Send
from serving.in_hand import InHand
from serving.problems import JSON, Problem

BODY_MAX = 1024 * 1024
BODY_S = 10.0  # in which a body has come, whole
URL_MAX = 8 * 1024  # path and query, as they came
HEADERS_MAX = 32 * 1024  # names and values, all together
DEPTH_MAX = 200  # what pydantic's parser goes down to
_TOO_DEEP = "recursion limit exceeded"  # its words when there is more
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_CONNECTIONS_KNOWN = 10_000
_NAMESPACE = "bentoml_service"
_TEMPLATES = (
    (re.compile(r"^/v1/books/[^/]+$"), "/v1/books/{work_id}"),
    (re.compile(r"^/v1/books/[^/]+/similar$"), "/v1/books/{work_id}/similar"),
    (re.compile(r"^/v1/decisions/[^/]+$"), "/v1/decisions/{decision_id}"),
    (re.compile(r"^/v1/users/[^/]+$"), "/v1/users/{user_id}"),
    (re.compile(r"^/v1/users/[^/]+/history$"), "/v1/users/{user_id}/history"),
    (re.compile(r"^/v1/users/[^/]+/history/[^/]+$"), "/v1/users/{user_id}/history/{work_id}"),
    (re.compile(r"^/v1/users/[^/]+/dismissed-authors/.+$"), "/v1/users/{user_id}/dismissed-authors/{author}"),
    (re.compile(r"^/v1/users/[^/]+/export$"), "/v1/users/{user_id}/export"),
)
_FIXED = frozenset(
    {f"/v1/{name}" for name in ("recommend", "why-not", "interactions", "models/current", "search")}
    | {f"/v1/auth/{name}" for name in ("signup", "login", "refresh", "logout")}
    | _PROBES
)


def endpoint_of(path: str) -> str:
    """The route that a path belongs to; `other` for one that is none."""
    if path in _FIXED:
        return path
    return next((template for pattern, template in _TEMPLATES if pattern.match(path)), "other")


class BoundedMetrics:
    """BentoML's request metrics, by route: its own middleware would make a series of every path ever asked for."""

    def __init__(self, app: App) -> None:
        async def with_path(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "path": scope.get("bookworks.path", scope.get("path"))}, receive, send)

        self._app = app
        self._measured: Any = RunnerTrafficMetricsMiddleware(with_path, namespace=_NAMESPACE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure an HTTP request under its route's name."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        await self._measured({**scope, "path": endpoint_of(path), "bookworks.path": path}, receive, send)


class ProbesFirst:
    """Sends to our app what BentoML would answer itself, in plain text.

    These are /healthz, /readyz and /metrics, and paths with a line break, which its mount does not match.
    """

    def __init__(self, app: App, probes: App) -> None:
        self._app, self._probes = app, probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Choose by path."""
        ours = scope["type"] == "http" and (scope["path"] in _PROBES or "\n" in scope["path"])
        await (self._probes if ours else self._app)(scope, receive, send)


class HeadLimit:
    """Refuses an address (414) or headers (431) that are too long for any request of ours, and one that is no UTF-8."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add up the bytes before the app looks at them."""
        problem = _of_head(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem.response()(dict(scope), receive, send)


def _of_head(scope: Scope) -> Problem | None:
    url = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if url > URL_MAX:
        return Problem(414, "The address is too long", received=f"{url} bytes", allowed=f"{URL_MAX} bytes")
    for field, part in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        if not _is_utf8(unquote_to_bytes(part)):
            return Problem(
                400, "The address is no UTF-8", field=field, received=part.decode("latin-1"),
                allowed="bytes above 127 percent-encoded, as UTF-8",
            )  # fmt: skip
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers > HEADERS_MAX:
        return Problem(431, "The headers are too large", received=f"{headers} bytes", allowed=f"{HEADERS_MAX} bytes")
    return None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class HeadAsGet:
    """Answers HEAD as GET (RFC 9110, 9.3.2): the server leaves out the body."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on as what it asks about; the server looks at its own scope."""
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET", AS_IT_CAME: "HEAD"}
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body of more than `limit` bytes (413), announced or not, a slow one (408), and what is no JSON.

    What passes is RFC 8259 to the letter: UTF-8, no NaN, no half characters, no number of thousands of digits, and not
    nested deeper than `DEPTH_MAX`, so that nothing behind can run out of stack.
    """

    def __init__(self, app: App, limit: int = BODY_MAX) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes before the app sees them."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            await self._refuse(int(announced), scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._whole(receive)
        except TimeoutError:
            await _too_slow().response()(dict(scope), receive, send)
            return
        if body is None:
            return
        if len(body) > self._limit:
            await self._refuse(f"more than {self._limit}", scope, receive, send)
            return
        problem = _of_json(scope, body)
        if problem is None:
            await self._app(scope, _replay(body, receive), send)
        else:
            await problem.response()(dict(scope), receive, send)

    async def _whole(self, receive: Receive) -> bytes | None:
        """The body, or what has come of one that is too large; None where the caller has gone."""
        body = bytearray()
        while len(body) <= self._limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return bytes(body)

    async def _refuse(self, received: object, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            413, "The body is too large", field="body", received=f"{received} bytes", allowed=f"{self._limit} bytes",
            todo="send it in parts.", headers={"Connection": "close"},
        )  # fmt: skip
        await problem.response()(dict(scope), receive, send)


def _too_slow() -> Problem:
    return Problem(
        408, "The body did not come in time", field="body", allowed=f"all of it within {BODY_S:.0f} s",
        todo="send it again, at once.", headers={"Connection": "close"},
    )  # fmt: skip


def _of_json(scope: Scope, body: bytes) -> Problem | None:
    """What is wrong with a body that should be JSON; a tenth of the time that the app's own parser takes."""
    if not body:
        return None
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    if [kind.partition(b";")[0].strip().lower() for kind in types] != [b"application/json"]:
        return Problem(
            415, "The body must say once that it is JSON", field="header.Content-Type",
            received=b", ".join(types).decode("latin-1") or "nothing", allowed="application/json",
        )  # fmt: skip
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if str(error).startswith(_TOO_DEEP):
            return Problem(
                422, "The body is nested too deeply", field="body", received=error, allowed=f"{DEPTH_MAX} levels"
            )
        return Problem(400, "The body is no valid JSON", field="body", received=error, allowed=JSON)
    return None


class FreshConnections:
    """Ends a connection after so many requests, with `Connection: close`, so that its caller makes another.

    A connection stays with the worker, and behind a balancer with the replica, that took it: of many that are made at
    once one worker takes nearly all. A new one is taken by whoever is free. A worker that has more requests in hand
    than another ends connections until it has not.
    """

    def __init__(self, app: App, requests: int, in_hand: InHand | None = None) -> None:
        self._app, self._requests, self._in_hand = app, requests, in_hand
        self._seen: LRUCache[tuple[str, int], int] = LRUCache(_CONNECTIONS_KNOWN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request; the last of a connection says so in its answer."""
        if scope["type"] != "http" or not scope.get("client"):
            await self._app(scope, receive, send)
            return
        self._count(1)
        try:
            await self._app(scope, receive, self._telling(tuple(scope["client"]), send))
        finally:
            self._count(-1)

    def _count(self, n: int) -> None:
        if self._in_hand is not None:
            self._in_hand.add(n)

    def _telling(self, connection: tuple[str, int], send: Send) -> Send:
        async def telling(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._is_last(connection):
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        return telling

    def _is_last(self, connection: tuple[str, int]) -> bool:
        seen = self._seen.pop(connection, 0) + 1
        if seen >= self._requests or (self._in_hand is not None and self._in_hand.too_many):
            return True
        self._seen[connection] = seen
        return False


def entrance(app: App, requests_per_connection: int, in_hand: InHand | None = None) -> App:
    """The app behind all limits of a request; what these refuse has its id too."""
    inner = HeadAsGet(Audited(HeadLimit(BodyLimit(app))))
    return FreshConnections(inner, requests_per_connection, in_hand) if requests_per_connection else inner


def _replay(body: bytes, receive: Receive) -> Receive:
    done = False

    async def once() -> MutableMapping[str, Any]:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
