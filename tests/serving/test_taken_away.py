"""Each part of the service is taken away under load: answers go on, say what they lack, and lack nothing afterwards."""

import itertools
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from analytics.bench import failures
from bookworks.adapters.qdrant import EdgeStore
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.bundle import vector_collection
from bookworks.errors import TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.trees import Trees
from serving.app import make_app
from serving.middleware import entrance
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.process import eventually, listening, running
from tests.serving.publishing import promote
from tests.serving.test_process import free_port
from tests.support import qdrant_server
from tests.support.bundles import make_tiny_bundle

READERS = [f"r{number:03d}" for number in range(40)]
RATE, AWAY_S = 100.0, 2.0


@contextmanager
def one_more(settings, log, **environment):
    """The service beside whatever runs, and its settings."""
    mine = settings.model_copy(update={"service_port": free_port()})
    known = {"BOOKWORKS_SERVICE_PORT": str(mine.service_port), "BOOKWORKS_SERVICE_WORKERS": "2"}
    known["BENTOML_HOME"] = str(log.parent / "bentoml")
    known["BOOKWORKS_BUNDLE_CACHE_DIR"] = str(log.parent / "cache")
    with running(mine, log, **known, **environment) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        yield client, mine


def whole(client, **fields):
    """Whether an answer lacks nothing."""
    answer = client.post("/v1/recommend", json={"user_id": "r001"} | fields)
    return answer.status_code == 200 and answer.json()["fallbacks"] == []


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_every_server_may_be_away(stack, tmp_path):
    started = stack.need("kafka", "minio", "postgres", "redis", "mlflow", "clickhouse")
    settings = started.model_copy(update={"model_name": "away"})
    folder = make_tiny_bundle(tmp_path, created_at=datetime.now(UTC), ranker=True)
    vectors = tmp_path / "vectors"
    bundle = Bundle.load(folder)
    EdgeStore(vectors).create(vector_collection(folder.name), bundle.item_vectors, [{}] * len(bundle))
    promote(settings, folder)
    seen = {}
    with one_more(settings, tmp_path / "log", BOOKWORKS_VECTORS_DIR=str(vectors)) as (client, mine):
        eventually(lambda: whole(client))
        with failures.under_load(mine, READERS, RATE) as load:
            for part in failures.PARTS:
                with failures.taken_away(mine, part, load) as seen[part]:
                    time.sleep(AWAY_S)
        eventually(lambda: whole(client))
    assert {part: dict(notes.unexplained) for part, notes in seen.items()} == {part: {} for part in failures.PARTS}
    assert all(notes.outcomes["recommend 200"] for notes in seen.values())
    assert {"recommend history", "interactions history"} <= set(seen["redis"].fallbacks)
    assert "user accounts" in seen["postgres"].fallbacks
    assert seen["kafka"].outcomes["interactions 503"]
    assert seen["postgres"].outcomes["login 503"]


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_a_qdrant_server_may_end_or_hang(stack, tmp_path):
    started = stack.need("kafka", "minio", "postgres", "redis", "mlflow")
    settings = started.model_copy(update={"model_name": "away-qdrant"})
    folder, port = make_tiny_bundle(tmp_path, created_at=datetime.now(UTC)), free_port()
    bundle = Bundle.load(folder)
    EdgeStore(tmp_path / "points").create(vector_collection(folder.name), bundle.item_vectors, [{}] * len(bundle))
    promote(settings, folder)
    server = qdrant_server.start(tmp_path / "points", port)
    try:
        with one_more(settings, tmp_path / "log", BOOKWORKS_QDRANT_URL=f"http://127.0.0.1:{port}") as (client, mine):
            eventually(lambda: whole(client), 30)
            with failures.under_load(mine, READERS, RATE) as load:
                there = load.watch("nothing")
                time.sleep(AWAY_S)
                ended = load.watch("qdrant")
                end(server)
                time.sleep(AWAY_S)
                server = qdrant_server.start(tmp_path / "points", port)
                eventually(lambda: whole(client), 30)
                hanging = load.watch("qdrant")
                server.send_signal(signal.SIGSTOP)
                time.sleep(2 * AWAY_S)
                server.send_signal(signal.SIGCONT)
                eventually(lambda: whole(client), 30)
    finally:
        end(server)
    for notes in (there, ended, hanging):
        assert not notes.unexplained
        assert notes.outcomes["recommend 200"] > 5
        assert max(notes.milliseconds) < 5000
    assert not there.fallbacks
    for notes in (ended, hanging):
        assert notes.fallbacks["recommend vector_index"]


def end(process):
    """At once, also one that hangs."""
    process.kill()
    process.wait()


def test_the_ranker_may_be_away(tmp_path, monkeypatch):
    platform = FakePlatform(served(make_tiny_bundle(tmp_path, ranker=True)))
    platform.history.readers["r001"] = OnlineReader(history=["w001"])
    stop, seen, phase, numbers = threading.Event(), {}, ["there"], itertools.count()

    def caller(url):
        with httpx.Client(base_url=url, headers={"X-API-Key": KEY}) as client:
            while not stop.is_set():
                before = phase[0]
                new = f"never-asked-{next(numbers)}"  # else the answer is a kept one
                answer = client.post("/v1/recommend", json={"user_id": "r001", "exclude": [new]})
                if before == phase[0]:  # else nobody knows of which it is
                    told = (answer.status_code, tuple(answer.json()["fallbacks"]), len(answer.json()["items"]))
                    seen.setdefault(before, Counter())[told] += 1

    def broken(*_):
        raise TransientError("away")

    with listening(entrance(make_app(platform), 20)) as port, ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(caller, f"http://127.0.0.1:{port}") for _ in range(4)]
        try:
            for name in ("there", "away", "back"):
                with monkeypatch.context() as patch:
                    if name == "away":
                        patch.setattr(Trees, "scores", broken)
                    phase[0] = name
                    eventually(lambda name=name: seen.get(name, Counter()).total() > 50)
                    phase[0] = "between"
                    time.sleep(0.5)  # those under way
        finally:
            stop.set()
        for one in callers:
            one.result()
    assert {name: set(seen[name]) for name in ("there", "away", "back")} == {
        "there": {(200, (), 10)}, "away": {(200, ("ranker",), 10)}, "back": {(200, (), 10)}
    }  # fmt: skip
