"""Kafka topics: name, key, retention. Dead letters of a topic go to `<topic>.dlq`."""

from __future__ import annotations

from dataclasses import dataclass

FOREVER = -1
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """One Kafka topic.

    Attributes:
        name: topic name.
        key: the field whose value is the record key, so what is ordered together.
        retention_ms: how long records are kept; `FOREVER` until deleted by hand.
    """

    name: str
    key: str
    retention_ms: int = FOREVER

    @property
    def dlq(self) -> str:
        """Name of the dead-letter topic."""
        return f"{self.name}.dlq"


INTERACTIONS = Topic("interactions", key="user_id")
CATALOGUE = Topic("catalogue", key="edition_id")
READERS = Topic("readers", key="user_id")
DECISIONS = Topic("decisions", key="user_id", retention_ms=90 * DAY_MS)

TOPICS: dict[str, Topic] = {t.name: t for t in (INTERACTIONS, CATALOGUE, READERS, DECISIONS)}

# Where a dead letter came from and why travel in its Kafka headers; the value is the bytes as received. `truncated`
# is the length of what was received where the value holds its beginning only, else "": such a one is never replayed.
DLQ_HEADERS = (
    "reason", "detail", "source_topic", "source_partition", "source_offset", "source_file", "source_line", "truncated",
)  # fmt: skip
