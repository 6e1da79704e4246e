"""ASGI layers around the service: BentoML's metrics with bounded labels, our own probes first, a limit on bodies."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

from serving.problems import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_MAX = 1024 * 1024
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_NAMESPACE = "bentoml_service"
_TEMPLATES = (
    (re.compile(r"^/v1/books/[^/]+$"), "/v1/books/{work_id}"),
    (re.compile(r"^/v1/books/[^/]+/similar$"), "/v1/books/{work_id}/similar"),
    (re.compile(r"^/v1/users/[^/]+$"), "/v1/users/{user_id}"),
)
_FIXED = frozenset(
    {f"/v1/{name}" for name in ("recommend", "interactions")}
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


class BodyLimit:
    """Refuses a body of more than `limit` bytes with 413, whether or not its length was announced."""

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
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > self._limit:
                await self._refuse(f"more than {self._limit}", scope, receive, send)
                return
            if not message.get("more_body"):
                break
        await self._app(scope, _replay(bytes(body), receive), send)

    async def _refuse(self, received: object, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            413, "The body is too large", field="body", received=f"{received} bytes", allowed=f"{self._limit} bytes",
            todo="send it in parts.", headers={"Connection": "close"},
        )  # fmt: skip
        await problem.response()(dict(scope), receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    done = False

    async def once() -> MutableMapping[str, Any]:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
