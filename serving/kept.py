"""What an answer leaves in Redis, written by a thread of its own: the decision for a while, and what was shown."""

from __future__ import annotations

import logging
import queue
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from bookworks.adapters import redis
from bookworks.errors import TransientError
from bookworks.settings import Settings
from serving import metrics
from serving.breaker import Breaker

logger = logging.getLogger("bookworks.serving")
_QUEUE, _AT_ONCE = 500, 100
_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        decision_id: by which it is found again.
        user_id: the reader.
        at_ms: when it was given, ms since 1970.
        shown: works whose showing is to be remembered.
        document: makes what is kept of the decision; called by the thread, so that the answer waits for nothing.
    """

    decision_id: str
    user_id: str
    at_ms: float
    shown: tuple[str, ...]
    document: Callable[[], dict[str, Any]]


class Keeper:
    """Keeps answers, and finds them again."""

    def __init__(self, settings: Settings) -> None:
        self._ttl_s = settings.decision_ttl_seconds
        self._client = redis.connect(settings, timeout_s=_TIMEOUT_S, patient=False)
        self._reads, self._writes = Breaker("Redis"), Breaker("Redis, asked to write,")
        self._waiting: queue.Queue[Answer | None] = queue.Queue(_QUEUE)
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def put(self, answer: Answer) -> None:
        """Take an answer; never waits, never fails."""
        if not self._ttl_s and not answer.shown:
            return
        try:
            self._waiting.put_nowait(answer)
        except queue.Full:
            metrics.ANSWERS_DROPPED.inc()

    def find(self, decision_id: str) -> dict[str, Any] | None:
        """What was kept of a decision; None when there is no such, or no more.

        Raises:
            TransientError: Redis does not answer.
        """
        content = self._reads.call(lambda: redis.read_decision(self._client, decision_id))
        return None if content is None else unpacked(content)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`, and end the connection."""
        if self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=1.0)
                self._thread.join(timeout_s)
            except queue.Full:
                pass
        self._client.close()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < _AT_ONCE and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    self._write(batch)
                    return
                batch.append(following)
            self._write(batch)

    def _write(self, batch: list[Answer]) -> None:
        made = ((one.decision_id, one.user_id, _packed(one)) for one in batch if self._ttl_s)
        documents = [(decision_id, user_id, content) for decision_id, user_id, content in made if content is not None]
        shown = [(one.user_id, one.shown, one.at_ms) for one in batch if one.shown]
        try:
            self._writes.call(lambda: redis.keep_answers(self._client, documents, self._ttl_s, shown))
        except TransientError:
            metrics.ANSWERS_DROPPED.inc(max(len(documents), len(shown)))


def _packed(answer: Answer) -> bytes | None:
    """The document as bytes; None where it cannot be made, which must not end the thread."""
    try:
        return packed(answer.document())
    except Exception:
        metrics.ANSWERS_DROPPED.inc()
        logger.exception("decision %s was not kept", answer.decision_id)
        return None


def packed(document: dict[str, Any]) -> bytes:
    """A document as bytes, less than half of its length."""
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return zlib.compress(content, 1)


def unpacked(content: bytes) -> dict[str, Any]:
    """What `packed` was given."""
    document: dict[str, Any] = orjson.loads(zlib.decompress(content))
    return document
