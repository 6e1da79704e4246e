"""A query parameter that the route does not have, or that comes twice, is refused, so that a slip is noticed."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def known(request: Request) -> None:
    """Compare with the names that the OpenAPI page has for the route.

    Raises:
        RequestValidationError: the page names no such parameter, or it comes twice.
    """
    if not request.query_params:
        return
    path = request.scope["route"].path.replace(":path}", "}")
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    errors = [
        {
            "type": "extra_forbidden",
            "loc": ("query", name),
            "msg": "This route has no such parameter",
            "input": value,
            "ctx": {"allowed": ", ".join(names) or "no parameter after the path"},
        }
        for name, value in request.query_params.items()
        if name not in names
    ]
    errors += [
        {
            "type": "extra_forbidden",
            "loc": ("query", name),
            "msg": "The parameter comes more than once",
            "input": ", ".join(request.query_params.getlist(name)),
            "ctx": {"allowed": "one value"},
        }
        for name in request.query_params
        if name in names and len(request.query_params.getlist(name)) > 1
    ]
    if errors:
        raise RequestValidationError(errors)
