"""Playing readers against a small HTTP server that checks every request with the service's own schemas."""

from __future__ import annotations

import inspect
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from bookworks.errors import TransientError
from bookworks.settings import Settings
from infra.local.demo import demo as run_demo
from serving.schemas import InteractionsRequest, RecommendRequest
from simulation import cli
from simulation.play import World, play


@pytest.fixture(scope="module")
def world():
    return World(100, 50, seed=1)


@pytest.fixture
def service(world):
    received = []
    editions = {f"w{work}": edition for edition, work in world._true_work.items()}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_GET(self):
            self.answer({"editions": [editions[self.path.rpartition("/")[2]]]})

        def do_POST(self):
            assert self.headers["X-API-Key"] == "key"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v1/interactions":
                received.extend(InteractionsRequest.model_validate(body).events)
                return self.answer({"accepted": len(body["events"])})
            RecommendRequest.model_validate(body)
            items = [{"position": i, "work_id": f"w{i}"} for i in range(10)]
            return self.answer(
                {"decision_id": str(uuid.uuid4()), "bundle_version": "v1", "tier": "warm", "items": items}
            )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Settings(service_port=server.server_port, service_api_key=SecretStr("key")), received
    server.shutdown()
    thread.join()
    server.server_close()


def test_readers_see_click_and_rate_what_was_shown(service, world):
    settings, received = service
    *_, played = play(settings, world, n_readers=20, seed=1, sessions=2)
    summary = played.summary()
    assert (summary["readers"], summary["requests"], summary["impressions"]) == (20, 40, 400)
    kinds = [event.kind for event in received]
    assert kinds.count("impression") == 400
    assert kinds.count("click") == summary["clicks"] > 0
    assert kinds.count("rating") == summary["ratings"]
    assert summary["unknown_books"] == 0
    assert summary["bundles"] == {"v1": 40}
    assert all(event.decision_id and event.occurred_at and event.surface == "home" for event in received)


def test_service_that_is_away_is_named(world):
    with pytest.raises(TransientError, match="service does not answer"):
        next(play(Settings(service_port=9), world, 1, 1))


def test_play_meets_the_readers_of_the_demo_by_default():
    demo = inspect.signature(run_demo).parameters
    defaults = inspect.signature(cli.play).parameters
    for name in ("works", "readers", "seed"):
        assert defaults[f"world_{name}"].default == demo[name].default
        assert inspect.signature(cli.generate).parameters[name].default == demo[name].default
