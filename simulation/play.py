"""`bookworks simulate play`: made-up readers use the running service, as their tastes and the positions have it.

The world is made again from its seed, so tastes and works are those of the generated files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from bookworks.clock import now
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings
from simulation import behaviour
from simulation.world import Floats, make_editions, make_readers, make_works

SLATE = 10
LIKING_OF_UNKNOWN = 0.3  # of a book that is not of this world, for example from another source
TIMEOUT_S = 30.0


@dataclass
class Played:
    """What came of it.

    Attributes:
        latencies_ms: of each POST /v1/recommend.
        clicks_by_position: shown and clicked for each position.
    """

    readers: int = 0
    requests: int = 0
    impressions: int = 0
    clicks: int = 0
    ratings: int = 0
    unknown_books: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    tiers: dict[str, int] = field(default_factory=dict)
    bundles: dict[str, int] = field(default_factory=dict)
    shown_at: list[int] = field(default_factory=lambda: [0] * SLATE)
    clicked_at: list[int] = field(default_factory=lambda: [0] * SLATE)

    def summary(self) -> dict[str, Any]:
        """Counts, click-through and latencies (p50, p99, milliseconds)."""
        p50, p99 = np.percentile(self.latencies_ms or [0.0], [50, 99])
        by_position = [round(c / s, 3) if s else None for s, c in zip(self.shown_at, self.clicked_at, strict=True)]
        return {
            "readers": self.readers,
            "requests": self.requests,
            "impressions": self.impressions,
            "clicks": self.clicks,
            "ratings": self.ratings,
            "unknown_books": self.unknown_books,
            "click_through": round(self.clicks / self.impressions, 4) if self.impressions else None,
            "click_through_by_position": by_position,
            "recommend_p50_ms": round(float(p50), 2),
            "recommend_p99_ms": round(float(p99), 2),
            "tiers": self.tiers,
            "bundles": self.bundles,
        }


class World:
    """The tastes and works of one seed, and which service's work is which of ours."""

    def __init__(self, works: int, readers: int, seed: int) -> None:
        seeds = np.random.SeedSequence(seed).spawn(6)
        rngs = [np.random.default_rng(one) for one in seeds]
        self.works = make_works(works, rngs[0])
        editions = make_editions(self.works, rngs[1])
        self.readers = make_readers(readers, rngs[2])
        self._true_work = dict(zip(editions.edition_ids, editions.work.tolist(), strict=True))
        self._known: dict[str, int | None] = {}

    def true_work(self, client: httpx.Client, work_id: str) -> int | None:
        """Our work behind the service's `work_id`, by its editions; None when it is not of this world."""
        if work_id not in self._known:
            answer = client.get(f"/v1/books/{work_id}")
            editions = answer.json().get("editions", []) if answer.status_code == httpx.codes.OK else []
            self._known[work_id] = next((self._true_work[e] for e in editions if e in self._true_work), None)
        return self._known[work_id]

    def liking(self, taste: Floats, work: int | None) -> float:
        """How much a reader likes a work, about -0.2 to 1.2."""
        if work is None:
            return LIKING_OF_UNKNOWN
        return float(behaviour.liking(self.works, taste[None, :], np.array([work]))[0])


def play(settings: Settings, world: World, n_readers: int, seed: int, sessions: int = 1) -> Iterator[Played]:
    """Play readers one after the other; yields the same growing result after each.

    Raises:
        TransientError: the service does not answer.
        TerminalError: the service refuses us.
    """
    rng = np.random.default_rng([seed, 7])
    played = Played()
    chosen = rng.choice(len(world.readers), size=min(n_readers, len(world.readers)), replace=False)
    headers = {"X-API-Key": settings.service_api_key.get_secret_value()}
    with httpx.Client(base_url=settings.service_url, headers=headers, timeout=TIMEOUT_S) as client:
        for reader in chosen:
            for _ in range(sessions):
                _session(client, world, int(reader), rng, played)
            played.readers += 1
            yield played


def _session(client: httpx.Client, world: World, reader: int, rng: np.random.Generator, played: Played) -> None:
    user_id = world.readers.user_id(reader)
    begun = time.perf_counter()
    slate = _post(client, "/v1/recommend", {"user_id": user_id, "n": SLATE, "surface": "home"})
    played.latencies_ms.append((time.perf_counter() - begun) * 1000)
    played.requests += 1
    for counts, name in ((played.tiers, slate.get("tier", "")), (played.bundles, slate["bundle_version"])):
        counts[name] = counts.get(name, 0) + 1
    events = []
    for place, item in enumerate(slate["items"]):
        kinds = _answer(client, world, reader, place, item["work_id"], rng, played)
        common = {"user_id": user_id, "work_id": item["work_id"], "surface": "home", "occurred_at": now().isoformat(),
                  "decision_id": slate["decision_id"], "position": item.get("position", place)}  # fmt: skip
        events += [common | kind for kind in kinds]
    if events:
        _post(client, "/v1/interactions", {"events": events})


def _answer(
    client: httpx.Client, world: World, reader: int, place: int, work_id: str, rng: np.random.Generator, played: Played
) -> list[dict[str, Any]]:
    """What the reader does with one shown book: always an impression, then perhaps a click, then perhaps a rating."""
    work = world.true_work(client, work_id)
    played.unknown_books += work is None
    played.impressions += 1
    played.shown_at[place] += 1
    like = world.liking(world.readers.taste_end[reader], work)
    look = float(behaviour.examination(np.array([place]))[0])
    wanted = 1 / (1 + np.exp(-behaviour.CLICK_GAIN * (like - behaviour.CLICK_THRESHOLD)))
    done: list[dict[str, Any]] = [{"kind": "impression"}]
    if rng.random() < look * wanted:
        played.clicks += 1
        played.clicked_at[place] += 1
        done.append({"kind": "click"})
        if rng.random() < 0.5 * max(like, 0.0):
            played.ratings += 1
            done.append({"kind": "rating", "value": float(np.clip(round(2 + 7 * like + rng.normal(0, 0.9)), 1, 10))})
    return done


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = client.post(path, json=body)
    except httpx.HTTPError as error:
        raise TransientError(
            f"The service does not answer at {client.base_url}", received=f"{type(error).__name__}: {error}",
            todo="check `bookworks status`, and that a bundle is champion.",
        ) from error  # fmt: skip
    if answer.is_server_error:
        raise TransientError(f"The service failed at {path}", received=answer.text[:300], todo="check its log.")
    if answer.is_error:
        raise TerminalError(f"The service refused {path}", received=f"{answer.status_code} {answer.text[:300]}")
    result: dict[str, Any] = answer.json()
    return result
