"""Latency of `POST /v1/recommend`, one caller, against the no-op endpoint `GET /livez` of the same server.

And how soon an event shows: the own in the very next answer, one that came to Kafka from elsewhere in the history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import numpy as np
from kafka import KafkaProducer

from analytics.bench.report import Figure
from bookworks import clock
from bookworks.adapters import clickhouse, kafka
from bookworks.contracts.records import Event
from bookworks.contracts.topics import INTERACTIONS
from bookworks.errors import TransientError
from bookworks.settings import Settings

READERS = """
    SELECT user_id FROM events FINAL WHERE ifNull(surface, '') != 'bench'
    GROUP BY user_id ORDER BY cityHash64(user_id) LIMIT {n:UInt32}
"""
WARM_UP = 50
SHOWN_S, ASKED_EVERY_S = 10.0, 0.005


def measure(settings: Settings, requests: int, rounds: int) -> list[Figure]:
    """p50 and p99 in ms of each round; readers are a fixed sample of those that have events.

    Raises:
        TransientError: the service gave anything but an answer; a failed request is never timed.
    """
    readers = readers_of(settings, requests)
    headers = {"X-API-Key": settings.service_api_key.get_secret_value()}
    ours, base = [], []
    with httpx.Client(base_url=settings.service_url, headers=headers, timeout=10) as client:
        for reader in readers[:WARM_UP]:
            _recommend(client, reader)
        for _ in range(rounds):
            base.append(_timed([partial(client.get, "/livez")] * len(readers)))
            ours.append(_timed([partial(_recommend, client, reader) for reader in readers]))
    return [
        Figure(f"recommend_p{q}", "ms", [float(np.percentile(t, q)) for t in ours],
               [float(np.percentile(t, q)) for t in base])
        for q in (50, 99)
    ]  # fmt: skip


def events_shown(settings: Settings, events: int) -> list[Figure]:
    """Seconds until an event shows, p50 and p99: `own` posted and asked for together, `elsewhere` sent to Kafka alone.

    Raises:
        TransientError: an event did not show, or the service refused a request.
    """
    headers = {"X-API-Key": settings.service_api_key.get_secret_value()}
    producer = kafka.producer(settings, linger_ms=0)
    try:
        with httpx.Client(base_url=settings.service_url, headers=headers, timeout=10) as client:
            work = _recommend(client, f"bench-{uuid.uuid4()}").json()["items"][0]["work_id"]
            own = [_own(client, work) for _ in range(events)]
            elsewhere = [_elsewhere(client, producer, work) for _ in range(events)]
    finally:
        producer.close(timeout=5)
    return [
        Figure(f"{name}_event_p{q}", "ms", [float(np.percentile(times, q))])
        for name, times in (("own", own), ("elsewhere", elsewhere))
        for q in (50, 99)
    ]


def _own(client: httpx.Client, work: str) -> float:
    """Milliseconds for an event and the answer that heeds it, one after the other."""
    reader, event = f"bench-{uuid.uuid4()}", {"kind": "shelve", "work_id": work, "surface": "bench"}
    started = time.perf_counter()
    posted = client.post("/v1/interactions", json={"events": [event | {"user_id": reader}]})
    answer = _recommend(client, reader)
    took = (time.perf_counter() - started) * 1000
    if not (posted.is_success and answer.is_success and answer.json()["tier"] == "session"):
        raise TransientError("A reader's own event did not show", received=(posted.text + answer.text)[:300])
    return took


def _elsewhere(client: httpx.Client, producer: KafkaProducer, work: str) -> float:
    """Milliseconds from Kafka's acknowledgement of an event until the service knows of it."""
    reader, now = f"bench-{uuid.uuid4()}", clock.now()
    event = Event(
        source="bench", received_at=now, occurred_at=now, event_id=str(uuid.uuid4()), kind="shelve", user_id=reader,
        work_id=work, surface="bench",
    )  # fmt: skip
    value = event.model_dump_json(exclude_none=True).encode()
    producer.send(INTERACTIONS.name, key=reader.encode(), value=value).get(timeout=SHOWN_S)
    started = time.perf_counter()
    while client.get(f"/v1/users/{reader}").status_code != 200:
        if time.perf_counter() - started > SHOWN_S:
            raise TransientError("An event in Kafka does not show", todo="see `bookworks status consumers`.")
        time.sleep(ASKED_EVERY_S)
    return (time.perf_counter() - started) * 1000


def readers_of(settings: Settings, n: int) -> list[str]:
    """At most `n` readers, a fixed sample of those that have events.

    Raises:
        TransientError: there is none.
    """
    readers = [row[0] for row in clickhouse.connect(settings).query(READERS, parameters={"n": n}).result_rows]
    if not readers:
        raise TransientError("No reader has an event yet", todo="run `bookworks demo` first.")
    return readers


def _recommend(client: httpx.Client, reader: str) -> httpx.Response:
    return client.post("/v1/recommend", json=asked_for(reader))


def asked_for(reader: str) -> dict[str, Any]:
    """The body of a request like no other: it leaves out a book of its own, so that no kept answer fits."""
    return {"user_id": reader, "n": 10, "surface": "bench", "exclude": [f"none-{uuid.uuid4()}"]}


def _timed(calls: list[Callable[[], httpx.Response]]) -> list[float]:
    times = []
    for call in calls:
        started = time.perf_counter()
        answer = call()
        times.append((time.perf_counter() - started) * 1000)
        if not answer.is_success:
            raise TransientError("The service refused a request of the benchmark", received=answer.text[:200])
    return times
