"""Each request has an id; one that matters for security leaves a line of JSON: who did what to whom, what came of it.

The line holds no header, no body and no query, so no password, token or key.
"""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, Literal

import orjson
from fastapi import Request

from bookworks import clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Kind = Literal["anonymous", "reader", "key"]

logger = logging.getLogger("bookworks.audit")
HEADER = b"x-request-id"
AS_IT_CAME = "bookworks.method"  # in a scope: the method before another took its place
request_id: ContextVar[str] = ContextVar("request_id", default="none")
_SANE = re.compile(rb"[A-Za-z0-9._-]{8,128}")
_REFUSED = frozenset({401, 403, 429})
_DOOR, _READERS = "/v1/auth/", "/v1/users/"
_ACTIONS = {"GET": "read", "PUT": "change", "POST": "change", "PATCH": "change", "DELETE": "delete"}


def called_by(request: Request, kind: Kind, caller: str | None) -> None:
    """Note who calls; None while it is not known whether it is true."""
    request.scope.setdefault("state", {}).update(caller_kind=kind, caller_id=caller)


def concerns(request: Request, user_id: str) -> None:
    """Note whose account or data it is, where the address does not say it."""
    request.scope.setdefault("state", {})["subject"] = user_id


def to_stdout() -> None:
    """Write the lines to this process's output as they are, whatever the server does with other logs."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


class Audited:
    """Gives each request its id, the caller's own where it is sane, and writes the line."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its id goes into the answer's header and into what is logged meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came = dict(scope["headers"]).get(HEADER, b"")
        name = came.decode() if _SANE.fullmatch(came) else uuid.uuid4().hex
        scope["state"] = dict(scope.get("state") or {})
        status = 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (HEADER, name.encode())]}
            try:
                await send(message)
            except RuntimeError as error:
                if "closed" not in str(error):  # else the caller has gone, and there is nobody to tell
                    raise

        token = request_id.set(name)
        try:
            await self._app(scope, receive, answer)
        finally:
            request_id.reset(token)
            _write(scope, name, status)


def _write(scope: Scope, name: str, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    action = _action(scope["method"], route or "", status)
    if action is None:
        return
    state, client = scope["state"], scope.get("client")
    line = {
        "at": clock.now(),
        "log": "audit",
        "request_id": name,
        "action": action,
        "method": scope.get(AS_IT_CAME, scope["method"]),
        "route": route,
        "status": status,
        "outcome": "done" if status < 400 else "refused" if status in _REFUSED else "failed",
        "caller_kind": state.get("caller_kind", "anonymous"),
        "caller_id": state.get("caller_id"),
        "subject": state.get("subject") or scope.get("path_params", {}).get("user_id"),
        "address": client[0] if client else None,
    }
    logger.info("%s", orjson.dumps(line).decode())


def _action(method: str, route: str, status: int) -> str | None:
    """What the line calls the request; None for one that needs no line."""
    if route.startswith(_DOOR):
        return route.removeprefix(_DOOR)
    if route.startswith(_READERS):
        return "export" if route.endswith("/export") else _ACTIONS.get(method, "read")
    return "call" if status in _REFUSED else None
