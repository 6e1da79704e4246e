"""Nothing accepted is lost: Kafka stops under load, the service is killed, both come back."""

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import psutil
import pytest

from bookworks.adapters import kafka
from infra.local import stack as servers
from tests.serving.process import eventually, running
from tests.serving.test_process import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
CALLERS = 4


class Load:
    """Callers that post interactions one after another, whatever happens, and note which ids were accepted how."""

    def __init__(self, client):
        self._client, self._stop = client, threading.Event()
        self.stored, self.spooled, self.refused = [], [], 0

    def post(self):
        one = {"kind": "view", "work_id": "w001", "user_id": f"r{uuid.uuid4()}", "event_id": str(uuid.uuid4())}
        try:
            answer = self._client.post("/v1/interactions", json={"events": [one]})
        except httpx.TransportError:  # killed meanwhile
            return
        if answer.status_code == 200:
            (self.spooled if "stream" in answer.json()["fallbacks"] else self.stored).append(one["event_id"])
        else:
            self.refused += 1

    def _go_on(self):
        while not self._stop.is_set():
            self.post()
            time.sleep(0.02)

    def __enter__(self):
        self._pool = ThreadPoolExecutor(CALLERS)
        self._callers = [self._pool.submit(self._go_on) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_):
        self._stop.set()
        for one in self._callers:
            one.result()
        self._pool.shutdown()


def kill(port):
    """End the service with its workers, at once, as when the machine runs out of memory."""
    family = [process for process in psutil.Process().children(recursive=True) if _listens(process, port)]
    assert len(family) >= 3, "the keeper and two workers"
    for process in family:
        process.kill()


def _listens(process, port):
    return any(one.laddr.port == port and not one.raddr for one in process.net_connections(kind="inet"))


def id_of(value):
    """Of an event; None of the broken records that other tests leave in the topic."""
    try:
        return orjson.loads(value).get("event_id")
    except (orjson.JSONDecodeError, TypeError, AttributeError):
        return None


def ids_in_kafka(settings):
    reader = kafka.consumer(settings, "interactions", group=None)
    try:
        found = set()
        while batch := reader.poll(3000):
            found |= {id_of(one.value) for records in batch.values() for one in records}
        return found
    finally:
        reader.close()


def test_every_accepted_interaction_reaches_kafka_though_the_service_is_killed(stack, tmp_path):
    settings, folder, port = stack.need("kafka", "redis"), tmp_path / "spool", free_port()
    kafka.ensure_topics(settings)
    environment = {
        "BOOKWORKS_SERVICE_PORT": str(port),
        "BOOKWORKS_SERVICE_WORKERS": "2",
        "BOOKWORKS_INTERACTIONS_SPOOL_DIR": str(folder),
        "BOOKWORKS_MLFLOW_PORT": "9",
        "BOOKWORKS_POSTGRES_PORT": "9",
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    log = tmp_path / "service.log"
    try:
        with running(settings, log, **environment) as client, Load(client) as before:
            eventually(lambda: before.stored)
            servers.down(settings, ["kafka"])
            eventually(lambda: len(before.spooled) > 100, 30)
            kill(port)
        half = folder / "half.tmp"  # what a kill in the middle of a write leaves
        half.write_bytes(b'{"key": ')
        os.utime(half, (0, 0))
        with running(settings, log, **environment) as client:
            assert list(folder.glob("*.jsonl"))
            while_away = Load(client)
            while not while_away.spooled:
                while_away.post()
            assert before.refused == while_away.refused == 0, log.read_text()[-3000:]
            servers.up(settings, ["kafka"], lambda _: None)
            eventually(lambda: not list(folder.glob("*.jsonl")), 60)
            assert list(folder.glob("half.tmp-*.bad"))
            assert {path.suffix for path in folder.iterdir()} <= {".bad", ".tmp"}, "a .tmp of the kill, not yet old"
            again = Load(client)
            eventually(lambda: again.post() or again.stored)
            eventually(lambda: 'bookworks_spool_files{state="waiting"} 0.0' in client.get("/metrics").text)
            page = client.get("/metrics").text
            assert 'bookworks_spool_files{state="bad"} 0.0' not in page
            assert 'bookworks_fallbacks_total{part="stream"}' in page
        accepted = {*before.stored, *before.spooled, *while_away.spooled, *again.stored}
        assert accepted <= ids_in_kafka(settings)
    finally:
        servers.up(settings, ["kafka"], lambda _: None)
