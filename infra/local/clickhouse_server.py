"""The ClickHouse engine (chDB) behind ClickHouse's HTTP interface: `python -m infra.local.clickhouse_server FOLDER`.

A chDB folder belongs to one process, so everyone else comes through here with any ClickHouse client.
Interface: https://clickhouse.com/docs/interfaces/http. One worker thread talks to the engine, in order of arrival.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import uuid
from base64 import b64decode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bookworks.settings import Settings, get_settings
from infra.local.clickhouse_engine import (
    AUTHENTICATION_FAILED,
    CANNOT_DECOMPRESS,
    NOT_IMPLEMENTED,
    Engine,
    EngineError,
    Query,
)

DEFAULT_FORMAT = "TabSeparated"
# Parameters of a request that are not settings of the engine.
NOT_SETTINGS = frozenset({
    "query", "database", "default_format", "user", "password", "query_id", "session_id", "session_timeout",
    "session_check", "compress", "decompress", "enable_http_compression", "http_zlib_compression_level",
    "wait_end_of_query", "send_progress_in_http_headers", "http_headers_progress_interval_ms", "buffer_size",
    "quota_key", "role", "client_protocol_version", "cancel_http_readonly_queries_on_client_close",
})  # fmt: skip
CODECS = {"gzip": "gzip", "x-gzip": "gzip", "lz4": "lz4", "zstd": "zstd", "br": "brotli"}
OFFERED = ("zstd", "lz4", "br", "gzip")


class Door:
    """Says who may come in; compares in constant time."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user.encode(), password.encode()

    def lets_in(self, request: Request) -> bool:
        """Whether the request names the user and the password, in any of ClickHouse's three ways."""
        user, password = _credentials(request)
        right_user = hmac.compare_digest(user.encode(), self._user)
        right_password = hmac.compare_digest(password.encode(), self._password)
        return right_user and right_password


def _credentials(request: Request) -> tuple[str, str]:
    headers, query = request.headers, request.query_params
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return user, password
    return query.get("user", ""), query.get("password", "")


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its `Content-Encoding`.

    Raises:
        EngineError: the encoding is unknown, or the body is not of it.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in CODECS:
        known = ", ".join(sorted(CODECS))
        raise EngineError(
            NOT_IMPLEMENTED,
            f"Code: {NOT_IMPLEMENTED}. DB::Exception: Unknown Content-Encoding {encoding!r}; allowed: {known}. "
            "(NOT_IMPLEMENTED)",
        )
    try:
        return bytes(pa.CompressedInputStream(pa.BufferReader(body), CODECS[encoding]).read())
    except (OSError, ValueError) as error:
        raise EngineError(
            CANNOT_DECOMPRESS, f"Code: {CANNOT_DECOMPRESS}. DB::Exception: The body is not {encoding}: {error}. "
            "(CANNOT_DECOMPRESS)",
        ) from error  # fmt: skip


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first encoding that we offer and the client accepts, and that encoding's name."""
    wanted = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    for encoding in OFFERED:
        if encoding in wanted:
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, CODECS[encoding]) as stream:
                stream.write(body)
            return bytes(sink.getvalue()), encoding
    return body, None


class Interface:
    """The HTTP side: reads requests, hands them to the worker thread, writes answers."""

    def __init__(self, engine: Engine, door: Door, worker: ThreadPoolExecutor) -> None:
        self._engine, self._door, self._worker = engine, door, worker

    async def ping(self, _: Request) -> Response:
        """`Ok.`, for whoever asks."""
        return PlainTextResponse("Ok.\n")

    async def query(self, request: Request) -> Response:
        """One statement in the URL, in the body, or begun in the URL and continued in the body."""
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        headers = {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Timezone": "UTC"}
        try:
            return await self._answer(request, headers)
        except EngineError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            if error.http_status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            return PlainTextResponse(error.message + "\n", error.http_status, headers)

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        if not self._door.lets_in(request):
            code = AUTHENTICATION_FAILED
            message = "Authentication failed: password is incorrect, or there is no user with such name."
            raise EngineError(code, f"Code: {code}. DB::Exception: {message} (AUTHENTICATION_FAILED)")
        query = await read_query(request)
        if not query.text.strip():
            return PlainTextResponse("Ok.\n", headers=headers)
        answer = await asyncio.get_running_loop().run_in_executor(self._worker, self._engine.run, query)
        body = answer.body
        summary = {"read_rows": str(answer.read_rows), "written_rows": str(answer.written_rows)}
        headers["X-ClickHouse-Summary"] = json.dumps(summary)
        headers["X-ClickHouse-Format"] = query.output_format
        headers["Content-Type"] = "text/plain; charset=UTF-8" if query.output_format == DEFAULT_FORMAT else _BINARY
        if request.query_params.get("enable_http_compression") == "1":
            body, encoding = compress(body, request.headers.get("accept-encoding", ""))
            if encoding:
                headers["Content-Encoding"] = encoding
        return Response(body, headers=headers)


_BINARY = "application/octet-stream"


async def read_query(request: Request) -> Query:
    """What the request asks for.

    Raises:
        EngineError: the body is not of its encoding, or the request wants what is not offered here.
    """
    given = request.query_params
    if given.get("compress") == "1" or given.get("decompress") == "1":
        raise EngineError(
            NOT_IMPLEMENTED, f"Code: {NOT_IMPLEMENTED}. DB::Exception: ClickHouse's own block compression is not "
            "offered; use Content-Encoding and Accept-Encoding. (NOT_IMPLEMENTED)",
        )  # fmt: skip
    body = decompress(await request.body(), request.headers.get("content-encoding", "").lower())
    begun = given.get("query", "").encode()
    text = begun + b"\n" + body if begun and body else begun or body
    settings = {
        name: value for name, value in given.items() if name not in NOT_SETTINGS and not name.startswith("param_")
    }
    return Query(
        text=text,
        output_format=given.get("default_format") or request.headers.get("x-clickhouse-format") or DEFAULT_FORMAT,
        database=given.get("database") or request.headers.get("x-clickhouse-database") or "default",
        settings=settings,
        parameters={name[6:]: value for name, value in given.items() if name.startswith("param_")},
        session_id=given.get("session_id"),
        read_only=request.method == "GET",
    )


def application(engine: Engine, settings: Settings, worker: ThreadPoolExecutor) -> Starlette:
    """The HTTP application over an open engine."""
    door = Door(settings.clickhouse_user, settings.clickhouse_password.get_secret_value())
    interface = Interface(engine, door, worker)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.get_running_loop().run_in_executor(worker, engine.close)

    routes = [
        Route("/ping", interface.ping, methods=["GET"]),
        Route("/", interface.query, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main(folder: Path) -> None:
    """Serve `folder` until told to end."""
    settings = get_settings()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine") as worker:
        engine = worker.submit(Engine, folder).result()
        app = application(engine, settings, worker)
        uvicorn.run(
            app, host=settings.bind_host, port=settings.clickhouse_port, log_level="warning", access_log=False,
            timeout_graceful_shutdown=10,
        )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
