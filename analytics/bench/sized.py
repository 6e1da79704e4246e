"""The service on made-up catalogues of given sizes: latency and throughput by callers, start, memory, vector search.

It runs as a process of its own, with this stack's Redis and Kafka, and is loaded by vegeta
(https://github.com/tsenart/vegeta) beside the no-op endpoint of the same server in the same run.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil

from analytics.bench import recall
from analytics.bench.report import Figure
from analytics.bench.serving import asked_for
from bookworks import clock
from bookworks.adapters import qdrant, redis
from bookworks.contracts import online
from bookworks.contracts.bundle import LAST_CHAMPION, vector_collection
from bookworks.contracts.records import Event
from bookworks.errors import SettingError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from bookworks.settings import PROJECT_ROOT, Settings

READERS, HISTORY = 500, 30
START_S, ATTACK_MAX_S = 180.0, 120
MIB = 2**20
OK, NO_TARGET = "200", "0"  # vegeta looks once more for a target after the last


@dataclass(frozen=True)
class Place:
    """Where a catalogue of one size lies: its bundle, and the folders that the service is given."""

    folder: Path

    @property
    def cache(self) -> Path:
        """Of bundles; the note in it names the one that serves."""
        return self.folder / "bundles"

    @property
    def vectors(self) -> Path:
        """Of vector collections."""
        return self.folder / "vectors"

    @property
    def bundle(self) -> Path:
        """The bundle's own folder."""
        return next(path for path in sorted(self.cache.iterdir()) if path.is_dir())


def measure(
    settings: Settings,
    sizes: Sequence[int],
    callers: Sequence[int],
    requests: int,
    rounds: int,
    candidates: Sequence[int],
) -> list[Figure]:
    """Figures of every size, with a ranker of each number of candidates, 0: without.

    A bundle that an earlier run has made is taken again.

    Raises:
        SettingError: vegeta is not installed.
        TransientError: the service does not start, or refuses a request.
    """
    program = load_program()
    figures: list[Figure] = []
    for size, ranked in product(sizes, candidates):
        place = made(settings, size, ranked)
        name = (
            f"{size}" if ranked == max(candidates) else f"{size}_{f'ranking_{ranked}' if ranked else 'without_ranker'}"
        )
        figures += vector_recall(place, name, size)
        with histories(settings, size) as readers, running(settings, place) as service:
            figures += [Figure(f"start_{name}", "s", [service.start_s])]
            for count in callers:
                figures += under_load(program, service, readers, name, count, requests, rounds)
            figures += [Figure(f"memory_{name}", "MiB", [service.memory_mib()])]
    return figures


def _named(size: int, ranked: int, most: int) -> str:
    """A catalogue in the names of figures: the one whose ranker has most candidates by its size alone."""
    if not ranked:
        return f"{size}_without_ranker"
    return f"{size}" if ranked == most else f"{size}_ranking_{ranked}"


def load_program() -> str:
    """The path of vegeta.

    Raises:
        SettingError: it is not on the path.
    """
    places = [os.environ.get("PATH", ""), str(Path.home() / "go" / "bin")]
    found = shutil.which("vegeta", path=os.pathsep.join(places))
    if found is None:
        raise SettingError("The load comes from vegeta", received="no vegeta on the path",
                           todo="run `go install github.com/tsenart/vegeta/v12@v12.12.0`.")  # fmt: skip
    return found


def made(settings: Settings, size: int, candidates: int) -> Place:
    """The bundle and its vector collection, made where they are not there yet."""
    place = Place(settings.state_dir / "bench" / "serving" / f"{size}-{candidates}")
    if not place.cache.is_dir():
        draft = place.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [sys.executable, "-m", "training.synthetic_bundle", "--works", str(size)]
        subprocess.run([*command, "--candidates", str(candidates), str(draft)], check=True, cwd=PROJECT_ROOT)
        draft.rename(place.cache)
        (place.cache / LAST_CHAMPION).write_text(place.bundle.name, encoding="utf-8")
    store, name = qdrant.EdgeStore(place.vectors), vector_collection(place.bundle.name)
    if name not in store.names():
        bundle = Bundle.load(place.bundle)
        store.create(name, bundle.item_vectors, [{"work_id": work} for work in bundle.work_ids])
    return place


def vector_recall(place: Place, name: str, size: int) -> list[Figure]:
    """Share of the exact nearest works of readers' vectors that the vector engine finds.

    Of trained readers by their own vectors, and with the histories of the load, which are drawn at random: means of
    works that no reader would have put together, the hardest to find what is near to.
    """
    bundle = Bundle.load(place.bundle)
    users = list(bundle.users)[: recall.READERS]
    read = [list(dict.fromkeys(works)) for works in read_by(size).tolist()]
    states = {
        "": [ReaderState(user) for user in users],
        "_with_history": [ReaderState(user, works) for user, works in zip(users, read, strict=False)],
    }
    with closing(recall.opened(qdrant.EdgeStore(place.vectors), place.bundle.name)) as collection:
        shares = {what: recall.mean_recall(bundle, collection, of) for what, of in states.items()}
    return [Figure(f"vector_recall_at_{recall.NEAREST}{what}_{name}", "share", [s]) for what, s in shares.items()]


def read_by(size: int) -> npt.NDArray[np.int64]:
    """The works that the readers of the load have read, popular ones more often, [READERS, HISTORY]; some twice."""
    drawn = np.random.default_rng(size).pareto(0.8, (READERS, HISTORY)) * 20
    return np.minimum(drawn, size - 1).astype(np.int64)


@contextmanager
def histories(settings: Settings, size: int) -> Iterator[list[str]]:
    """Readers with a history in Redis, which is removed at the end."""
    client, now = redis.connect(settings), clock.now()
    readers = [f"bench-{uuid.uuid4()}" for _ in range(READERS)]
    events = [
        Event(source="bench", received_at=now, occurred_at=now - timedelta(minutes=at), event_id=str(uuid.uuid4()),
              kind="shelve", user_id=reader, work_id=f"w{work:07d}")
        for reader, works in zip(readers, read_by(size).tolist(), strict=True)
        for at, work in enumerate(works)
    ]  # fmt: skip
    try:
        redis.remember(client, events)
        yield readers
    finally:
        for reader in readers:
            client.delete(*(key.format(reader) for key in online.OF_READER))
        client.close()


class Service:
    """The service in a process of its own."""

    def __init__(self, settings: Settings, place: Place) -> None:
        with socket.socket() as free:
            free.bind((settings.service_host, 0))
            port = free.getsockname()[1]
        self.url = f"http://{settings.service_host}:{port}"
        self.key = settings.service_api_key.get_secret_value()
        environment = {
            "BOOKWORKS_SERVICE_PORT": str(port), "BOOKWORKS_BUNDLE_CACHE_DIR": str(place.cache),
            "BOOKWORKS_VECTORS_DIR": str(place.vectors), "BOOKWORKS_MODEL_NAME": "bench-of-no-model",
            "BOOKWORKS_MLFLOW_PORT": "1",
        }  # fmt: skip
        started = time.monotonic()
        with (place.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.run"], stdout=log, stderr=log, cwd=PROJECT_ROOT,
                env=os.environ | environment, start_new_session=True,
            )  # fmt: skip
        self._wait(started, place)
        self.start_s = time.monotonic() - started

    def _wait(self, started: float, place: Place) -> None:
        with httpx.Client(base_url=self.url, timeout=2, trust_env=False) as client:
            while time.monotonic() < started + START_S and self.process.poll() is None:
                try:
                    if client.get("/readyz").is_success:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        self.close()
        raise TransientError("The service did not start", todo=f"see {place.folder / 'service.log'}.")

    def memory_mib(self) -> float:
        """Resident memory of the largest process, the worker."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return max(one.memory_info().rss for one in processes) / MIB

    def close(self) -> None:
        """End it with all its processes."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def running(settings: Settings, place: Place) -> Iterator[Service]:
    """The service on this catalogue; it is ended at the end."""
    service = Service(settings, place)
    try:
        yield service
    finally:
        service.close()


def under_load(
    program: str, service: Service, readers: Sequence[str], catalogue: str, callers: int, requests: int, rounds: int
) -> list[Figure]:
    """Latency and requests a second of so many callers, each asking as soon as it is answered."""
    base, found = [], {name: list[dict[str, float]]() for name in ("recommend", "again")}
    for turn in range(-1, rounds):  # the first warms up
        asked = [_recommend(service, reader) for reader in _cycled(readers, requests)]
        of_turn = attack(program, asked, callers), attack(program, asked[:1] * requests, callers)
        noop = attack(program, [{"method": "GET", "url": f"{service.url}/livez"}] * requests, callers)
        if turn >= 0:
            base.append(noop)
            for rounds_, one in zip(found.values(), of_turn, strict=True):
                rounds_.append(one)
    return [
        Figure(f"{name}_{catalogue}_{callers}_callers_{what}", unit, [round_[what] for round_ in rounds_],
               [round_[what] for round_ in base])
        for name, rounds_ in found.items()
        for what, unit in (("p50", "ms"), ("p99", "ms"), ("rate", "1/s"))
    ]  # fmt: skip


def _cycled(readers: Sequence[str], n: int) -> list[str]:
    return [readers[i % len(readers)] for i in range(n)]


def _recommend(service: Service, reader: str) -> dict[str, Any]:
    """A request as vegeta reads it."""
    return {
        "method": "POST", "url": f"{service.url}/v1/recommend",
        "header": {"X-API-Key": [service.key], "Content-Type": ["application/json"]},
        "body": base64.b64encode(json.dumps(asked_for(reader)).encode()).decode(),
    }  # fmt: skip


def attack(program: str, targets: Sequence[dict[str, Any]], callers: int) -> dict[str, float]:
    """Every target once, by so many callers; p50 and p99 in ms, and requests a second.

    Raises:
        TransientError: an answer was no success; a failed request is never timed.
    """
    lines = "".join(json.dumps(target) + "\n" for target in targets).encode()
    attacked = subprocess.run(
        [program, "attack", "-format=json", "-rate=0", f"-max-workers={callers}", f"-workers={callers}",
         f"-duration={ATTACK_MAX_S}s", "-lazy", "-keepalive=true"],
        input=lines, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    told = subprocess.run([program, "encode", "-to=csv"], input=attacked.stdout, stdout=subprocess.PIPE, check=True)
    rows = [line.split(",")[:3] for line in told.stdout.decode().splitlines()]
    sent = [row for row in rows if row[1] != NO_TARGET]
    codes = {code for _, code, _ in sent}
    if codes != {OK} or len(sent) != len(targets):
        received = f"{len(sent)} answers of {len(targets)}, statuses {', '.join(sorted(codes))}"
        raise TransientError("The service refused a request of the benchmark", received=received)
    at, took = (np.array([int(row[column]) for row in sent]) for column in (0, 2))
    seconds = float((at + took).max() - at.min()) / 1e9
    return {
        "p50": float(np.median(took)) / 1e6,
        "p99": float(np.percentile(took, 99)) / 1e6,
        "rate": len(sent) / seconds,
    }
