"""The service under load while one part of the stack after the other is away: what it answers, what is unexplained.

Takes servers of this stack away and brings them back: give it a stack of its own (BOOKWORKS_STATE_DIR,
BOOKWORKS_PORT_OFFSET) with `bookworks demo` behind it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
import numpy as np

from analytics.bench.command import bookworks
from analytics.bench.report import Figure
from analytics.bench.serving import asked_for
from bookworks.errors import TransientError
from bookworks.settings import Settings

NOTHING = "nothing"
PARTS = (NOTHING, "redis", "kafka", "postgres", "mlflow", "minio", "clickhouse")
TAKEN_WITH = {"postgres": ("mlflow",)}  # that cannot live without it
CALLERS, WARM_UP_S = 8, 3.0
RECOMMENDED = 16  # calls for books in a round of 20
MAY_BE_REFUSED = {"interactions": {"kafka"}, "login": {"postgres"}}  # with 503 and Retry-After


@dataclass
class Seen:
    """What the callers saw while one part was away."""

    milliseconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        """Answers with 503."""
        return sum(count for told, count in self.outcomes.items() if told.endswith(" 503"))


class Load:
    """Callers that go on whatever happens, and note what they see."""

    def __init__(self, settings: Settings, readers: Sequence[str], rate: float) -> None:
        self._settings, self._readers, self._every_s = settings, readers, CALLERS / rate
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.away, self.seen = NOTHING, Seen()

    def watch(self, away: str) -> Seen:
        """Begin a new page of notes: this part is away from now on."""
        with self._lock:
            self.away, self.seen = away, Seen()
            return self.seen

    def stop(self) -> None:
        """Have all callers end."""
        self._stop.set()

    def call(self, number: int) -> None:
        """One caller: rounds of calls in any order, each at its time, or right after a longer one."""
        rng = np.random.default_rng(number)
        headers, due = {"X-API-Key": self._settings.service_api_key.get_secret_value()}, time.perf_counter()
        with httpx.Client(base_url=self._settings.service_url, headers=headers, timeout=10, trust_env=False) as client:
            while not self._stop.is_set():
                calls = _calls(rng.choice(self._readers, RECOMMENDED).tolist())
                for name, method, path, body in (calls[i] for i in rng.permutation(len(calls))):
                    started = time.perf_counter()
                    try:
                        answer: httpx.Response | None = client.request(method, path, json=body)
                    except httpx.HTTPError:
                        answer = None
                    self._note(name, answer, (time.perf_counter() - started) * 1000)
                    due = max(due + self._every_s, time.perf_counter())
                    self._stop.wait(due - time.perf_counter())

    def _note(self, name: str, answer: httpx.Response | None, took_ms: float) -> None:
        with self._lock:
            self.seen.milliseconds.append(took_ms)
            told = f"{name} {answer.status_code if answer is not None else 'no answer'}"
            self.seen.outcomes[told] += 1
            self.seen.fallbacks.update(f"{name} {part}" for part in _fallbacks(answer))
            if not _expected(name, answer, self.away):
                self.seen.unexplained[told] += 1


def _calls(readers: Sequence[str]) -> list[tuple[str, str, str, object]]:
    """A round: books for each of these readers, and one call of each other kind."""
    name, event_id = f"bench-{uuid.uuid4()}", str(uuid.uuid4())
    event = {"user_id": readers[0], "kind": "view", "work_id": "bench", "event_id": event_id, "surface": "bench"}
    return [
        *(("recommend", "POST", "/v1/recommend", asked_for(reader)) for reader in readers),
        ("search", "GET", "/v1/search?q=the+history", None),
        ("interactions", "POST", "/v1/interactions", {"events": [event]}),
        ("user", "GET", f"/v1/users/{quote(readers[0], safe='')}", None),
        ("login", "POST", "/v1/auth/login", {"username": name, "password": "no such reader"}),
    ]


def _fallbacks(answer: httpx.Response | None) -> list[str]:
    """What the answer says that it was made without."""
    return list(answer.json().get("fallbacks", [])) if answer is not None and answer.status_code == 200 else []


def _expected(name: str, answer: httpx.Response | None, away: str) -> bool:
    if answer is None:
        return False
    if answer.status_code == 503:
        return away in MAY_BE_REFUSED.get(name, set()) and "Retry-After" in answer.headers
    return answer.status_code == (401 if name == "login" else 200)


def measure(settings: Settings, readers: Sequence[str], seconds: float, rate: float) -> list[Figure]:
    """Answers, 99th percentile and unexplained answers while each part is away for so many seconds.

    Args:
        settings: of the stack.
        readers: ids to ask for.
        seconds: that each part is away.
        rate: calls a second.

    Raises:
        TransientError: an answer was none that the documentation tells of.
    """
    seen = dict[str, Seen]()
    with under_load(settings, readers, rate) as load:
        for part in PARTS:
            with taken_away(settings, part, load) as notes:
                time.sleep(seconds)
            seen[part] = notes
    figures = [figure for part, notes in seen.items() for figure in _figures(part, notes)]
    wrong = {part: dict(notes.unexplained) for part, notes in seen.items() if notes.unexplained}
    if wrong:
        raise TransientError("Some answers were none that the documentation tells of", received=str(wrong))
    return figures


@contextmanager
def under_load(settings: Settings, readers: Sequence[str], rate: float) -> Iterator[Load]:
    """Callers that ask for these readers, at so many calls a second together, and end with the block."""
    load = Load(settings, readers, rate)
    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(load.call, number) for number in range(CALLERS)]
        time.sleep(WARM_UP_S)
        try:
            yield load
        finally:
            load.stop()
        for one in callers:
            one.result()


@contextmanager
def taken_away(settings: Settings, part: str, load: Load) -> Iterator[Seen]:
    """One part down, with those that need it; up again at the end."""
    with_it = (part, *TAKEN_WITH.get(part, ()))
    notes = load.watch(part)
    if part != NOTHING:
        bookworks(settings, "down", *with_it)
    try:
        yield notes
    finally:
        if part != NOTHING:
            bookworks(settings, "up", *with_it)
            time.sleep(WARM_UP_S)


def _figures(part: str, notes: Seen) -> list[Figure]:
    took = notes.milliseconds
    return [
        Figure(f"without_{part}_answers", "1", [float(len(took))]),
        Figure(f"without_{part}_p99", "ms", [float(np.percentile(took, 99))]),
        Figure(f"without_{part}_refused", "1", [float(notes.refused)]),
        Figure(f"without_{part}_fallbacks", "1", [float(notes.fallbacks.total())]),
        Figure(f"without_{part}_unexplained", "1", [float(sum(notes.unexplained.values()))]),
    ]
