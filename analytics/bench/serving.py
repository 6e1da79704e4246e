"""Latency of `POST /v1/recommend`, one caller, against the no-op endpoint `GET /livez` of the same server."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import httpx
import numpy as np

from analytics.bench.report import Figure
from bookworks.adapters import clickhouse
from bookworks.errors import TransientError
from bookworks.settings import Settings

READERS = "SELECT user_id FROM events FINAL GROUP BY user_id ORDER BY cityHash64(user_id) LIMIT {n:UInt32}"
WARM_UP = 50


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
    return client.post("/v1/recommend", json={"user_id": reader, "n": 10, "surface": "bench"})


def _timed(calls: list[Callable[[], httpx.Response]]) -> list[float]:
    times = []
    for call in calls:
        started = time.perf_counter()
        answer = call()
        times.append((time.perf_counter() - started) * 1000)
        if not answer.is_success:
            raise TransientError("The service refused a request of the benchmark", received=answer.text[:200])
    return times
