"""The ASGI app of the service: routes, errors, the OpenAPI page with its files from this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
from fastapi import Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

import bookworks
from serving import decision_routes, door, models, problems, query, readers, routes, search, tracing
from serving.platform import Platform

_DESCRIPTION = """Recommended books for readers.

* A **reader** signs up or logs in, and sends its token as `Authorization: Bearer …`.
* A **calling service** sends `X-API-Key` and says for which reader it asks.
* Every error is `application/problem+json` and names the field, what was received and what is allowed.
"""
_SWAGGER = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"


def make_app(platform: Platform) -> FastAPI:
    """The app of one worker."""
    app = FastAPI(
        title="bookworks",
        version=getattr(bookworks, "__version__", "0.1.0"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.platform = platform
    for part in (routes, readers, door, decision_routes, models, search):
        app.include_router(part.router, prefix=routes.VERSION, dependencies=[Depends(query.known)])
    app.include_router(routes.probes)
    problems.install(app)
    if platform.settings.otlp_url:
        app.add_middleware(tracing.traced)
    app.mount("/docs/files", StaticFiles(directory=_SWAGGER), name="swagger")
    app.add_api_route("/docs", _docs, include_in_schema=False)
    app.add_api_route("/", _front, include_in_schema=False)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="bookworks",
        swagger_js_url="/docs/files/swagger-ui-bundle.js",
        swagger_css_url="/docs/files/swagger-ui.css",
        swagger_favicon_url="/docs/files/favicon-light-32x32.png",
    )


async def _front() -> RedirectResponse:
    return RedirectResponse("/docs")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's page, with our problem model in place of its own validation error."""
    if app.openapi_schema is None:
        page = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            license_info=app.license_info,
        )
        schemas = page["components"]["schemas"]
        schemas["ProblemModel"] = problems.ProblemModel.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        _inline_bodies(page)
        app.openapi_schema = page
    return app.openapi_schema


def _inline_bodies(page: dict[str, Any]) -> None:
    """Put the schema of each body where it is used: some programs look for its fields there alone."""
    for path in page["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                reference = content["schema"].get("$ref", "")
                if reference:
                    content["schema"] = page["components"]["schemas"][reference.rpartition("/")[2]]
