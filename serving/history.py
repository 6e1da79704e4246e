"""What the service keeps in Redis: readers' recent history, and how often somebody called or tried to log in.

Without Redis every reader is unknown, and the answer says so; nothing is counted then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bookworks.adapters import redis
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.records import Event
from bookworks.settings import Settings
from serving.breaker import Breaker

_TIMEOUT_S = 0.25


class History:
    """Reads and writes `bookworks.contracts.online`."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis.connect(settings, timeout_s=_TIMEOUT_S, patient=False)
        # Apart: a Redis without room still reads.
        self._reads, self._writes = Breaker("Redis"), Breaker("Redis, asked to write,")

    def read(self, user_id: str) -> OnlineReader:
        """What is known of a reader.

        Raises:
            TransientError: Redis does not answer.
        """
        return self._reads.call(lambda: redis.read_reader(self._client, user_id))

    def times(self, user_id: str) -> dict[str, datetime]:
        """When the reader last had to do with each book, as far as that is known.

        Raises:
            TransientError: Redis does not answer.
        """
        return self._reads.call(lambda: redis.read_times(self._client, user_id))

    def remember(self, events: Sequence[Event]) -> None:
        """Put events into their readers' history at once; the stream's consumer writes the same again later.

        Raises:
            TransientError: Redis does not answer.
        """
        self._writes.call(lambda: redis.remember(self._client, events))

    def dismiss_authors(self, authors: Mapping[str, Iterable[str]]) -> None:
        """Note authors whom readers do not want to see, user id -> ids or names.

        Raises:
            TransientError: Redis does not answer.
        """
        self._writes.call(lambda: redis.dismiss_authors(self._client, authors))

    def take_back_authors(self, user_id: str, authors: Iterable[str]) -> None:
        """Show these authors again.

        Raises:
            TransientError: Redis does not answer.
        """
        self._writes.call(lambda: redis.take_back_authors(self._client, user_id, authors))

    def has_dismissed_authors(self) -> bool:
        """Whether all of them were written since Redis was last empty.

        Raises:
            TransientError: Redis does not answer.
        """
        return self._reads.call(lambda: redis.has_dismissed_authors(self._client))

    def restore_dismissed_authors(self, authors: dict[str, list[str]]) -> None:
        """Write all of them.

        Raises:
            TransientError: Redis does not answer.
        """
        self.dismiss_authors(authors)
        self._writes.call(lambda: redis.note_dismissed_authors(self._client))

    def save_profile(self, user_id: str, profile: Mapping[str, Any]) -> None:
        """Keep what a reader said of itself.

        Raises:
            TransientError: Redis does not answer.
        """
        self._writes.call(lambda: redis.save_profile(self._client, user_id, profile))

    def count_login(self, who: str) -> int:
        """Count an attempt to log in; returns how many there were in the running minute.

        Raises:
            TransientError: Redis does not answer.
        """
        return self._writes.call(lambda: redis.count_login(self._client, who))

    def forget_logins(self, who: str) -> None:
        """Begin the count anew.

        Raises:
            TransientError: Redis does not answer.
        """
        self._writes.call(lambda: redis.forget_logins(self._client, who))

    def count_calls(self, who: str, most: int, calls: int = 1) -> tuple[int, int]:
        """Count calls, but those above `most`; returns how many there were in the running minute, and its rest in s.

        Raises:
            TransientError: Redis does not answer.
        """
        return self._writes.call(lambda: redis.count_calls(self._client, who, most, calls))

    def close(self) -> None:
        """End the connections."""
        self._client.close()
