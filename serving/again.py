"""Answers that are given again while nothing has changed that they were made of.

They belong to one loaded bundle with its rules and vectors (`serving.bundles.Served`) and go with it. The key is a
digest of all else: what is known of the reader, the request, the year, and how much time has passed as far as the
ranker sees it. So nothing that was kept is ever out of date. What is drawn by chance or fades with time is made anew.
"""

from __future__ import annotations

import threading
from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from cachetools import LRUCache

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.models.reader import Context
from serving import metrics, schemas
from serving.policy import Policy

if TYPE_CHECKING:
    from serving.pipeline import Trace

KEPT_BYTES = 32 * 2**20  # some 3,000 answers of ten books
_OF_OBJECTS = 3  # a Python object takes so many times the bytes of its JSON
_NOT_OF_THE_ANSWER = {"surface", "context"}
_BY_TIME = {"latest_at", "shown"}


class Kept(NamedTuple):
    """An answer without what is new each time.

    Attributes:
        answer: its fields but `decision_id`.
        trace: how it came about.
    """

    answer: dict[str, Any]
    trace: Trace

    @property
    def size(self) -> int:
        """About how many bytes this takes."""
        candidates = self.trace.candidates
        rows = 0 if candidates is None else candidates.works.nbytes + candidates.rows.nbytes
        return rows + _OF_OBJECTS * len(orjson.dumps(self.answer))


class Answers:
    """The latest answers of one loaded bundle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[bytes, Kept] = LRUCache(KEPT_BYTES, getsizeof=lambda kept: kept.size)

    def get(self, key: bytes | None) -> Kept | None:
        """What was answered under this key; None: nothing, or the key is None."""
        if key is None:
            return None
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            metrics.AGAIN.inc()
        return found

    def put(self, key: bytes | None, kept: Kept) -> None:
        """Keep an answer that was made with every part."""
        if key is not None and not kept.trace.fallbacks:
            with self._lock:
                self._kept[key] = kept


def key(
    policy: Policy, body: schemas.RecommendRequest, user_id: str, online: OnlineReader, trace: Trace
) -> bytes | None:
    """A digest of what an answer is made of; None where the same question need not have the same answer.

    Args:
        policy: the rules; drawn places and what was recently shown make every answer another.
        body: the request; pages and visitors' sessions are not kept.
        user_id: the reader.
        online: what is known of it.
        trace: with the parts that are away already.
    """
    by_chance = policy.exploration.share or policy.recently_shown.places
    if by_chance or body.cursor is not None or body.session is not None or trace.fallbacks:
        return None
    known = [getattr(online, field.name) for field in fields(online) if field.name not in _BY_TIME]
    asked = body.model_dump_json(exclude=_NOT_OF_THE_ANSWER, exclude_defaults=True)
    now = clock.now()
    made_of = [user_id, asked, str(Context.at(now, online.latest_at)), now.year, *known]
    return blake2b(orjson.dumps(made_of, default=sorted, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
