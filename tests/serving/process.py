"""The service as a process of its own, as an operator starts it, and its app behind a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from bookworks.settings import SUPERVISED, Settings
from tests.conftest import STATE_DIR

START_S = 90.0
MARKED = {SUPERVISED: str(STATE_DIR)}  # `bookworks down` ends it when pytest was killed
QUICK = {"BOOKWORKS_BUNDLE_POLL_SECONDS": "0.3"}


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of `check`, asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.1)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def running(settings: Settings, log: Path, **environment: str) -> Iterator[httpx.Client]:
    """A client with the service's key, for a service that is ended, with all its processes, at the end."""
    port = environment.get("BOOKWORKS_SERVICE_PORT", str(settings.service_port))
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.run"],
            stdout=out,
            stderr=out,
            env=os.environ | QUICK | MARKED | {"BOOKWORKS_MODEL_NAME": settings.model_name} | environment,
            start_new_session=True,
        )
    key = {"X-API-Key": settings.service_api_key.get_secret_value()}
    client = httpx.Client(base_url=f"http://{settings.service_host}:{port}", headers=key, timeout=20, trust_env=False)
    try:
        eventually(lambda: _answers(client) or _fail_if_ended(process, log), START_S)
        yield client
    finally:
        client.close()
        _end(process)


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """An app behind a real socket, in a thread of this process; its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def _fail_if_ended(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
