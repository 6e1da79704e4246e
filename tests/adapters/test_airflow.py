"""Airflow's client against a server that leaves requests without an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from bookworks.adapters import airflow
from bookworks.errors import TransientError
from bookworks.settings import Settings


class Silent(ThreadingHTTPServer):
    """Closes the connection of the first `silent` requests to Airflow's API; `asked` counts all of them."""

    silent = 0
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Silent

    def do_GET(self) -> None:
        if self.path != "/auth/token":
            self.server.asked += 1
            if self.server.asked <= self.server.silent:
                return
        content = json.dumps({"dags": [], "dag_run_id": "r", "access_token": "t"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Silent]:
    with Silent(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client(server: Silent) -> airflow.Airflow:
    settings = Settings(airflow_port=server.server_port, bind_host="127.0.0.1")
    assert urlsplit(settings.airflow_url).port == server.server_port
    return airflow.connect(settings)


def test_what_is_only_asked_is_asked_again(server: Silent) -> None:
    server.silent = airflow.TRIES - 1
    with client(server) as asking:
        assert asking.dags() == []
    assert server.asked == airflow.TRIES


def test_a_server_that_stays_silent_is_away(server: Silent) -> None:
    server.silent = 100
    with client(server) as asking, pytest.raises(TransientError, match="does not answer"):
        asking.dags()
    assert server.asked == airflow.TRIES


def test_a_run_is_never_started_twice(server: Silent) -> None:
    server.silent = 1
    with client(server) as asking, pytest.raises(TransientError, match="does not answer"):
        asking.trigger("catalogue", {})
    assert server.asked == 1
