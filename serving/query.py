"""A query parameter that the route does not have is refused, so that a misspelt one is noticed."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def known(request: Request) -> None:
    """Compare with the names that the OpenAPI page has for the route.

    Raises:
        RequestValidationError: the page names no such parameter.
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
    if errors:
        raise RequestValidationError(errors)
