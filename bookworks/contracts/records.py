"""The records on Kafka: Event, Edition, Reader, Decision.

Unknown fields are kept; a missing or wrong one makes the record a dead letter with the reason.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1
ReaderKind = Literal["view", "click", "rating", "shelve", "loan", "purchase", "dismiss", "impression"]
FORGET: Literal["forget"] = "forget"  # the reader takes back all that it did with this book until `occurred_at`
EventKind = Literal[ReaderKind, "forget"]

# How much one event says about a reader's liking; a rating is weighed by its value instead.
KIND_WEIGHTS: dict[str, float] = {
    "view": 0.2, "click": 0.4, "rating": 1.0, "shelve": 0.8, "loan": 1.0, "purchase": 1.0,
    "dismiss": 0.0, "impression": 0.0,
}  # fmt: skip
# Kinds that mean "has read or owns it": such works are not recommended again.
CONSUMED_KINDS = ("rating", "shelve", "loan", "purchase")
RATING_MIN, RATING_MAX = 0.0, 10.0  # 0 is Book-Crossing's "implicit": read, not rated

UNRATED_WEIGHT = 0.5  # read, liking unknown: the middle of the scale


def weight_of(kind: str, value: float | None = None) -> float:
    """How much one event says about a reader's liking, 0 to 1.

    Args:
        kind: an `EventKind`.
        value: the rating, 0 to 10, when `kind` is "rating"; 0 means read, not rated.
    """
    if kind == "rating":
        return value / RATING_MAX if value else UNRATED_WEIGHT
    return KIND_WEIGHTS[kind]


# Sources whose files carry no times; only their events may have an empty `occurred_at`.
SOURCES_WITHOUT_TIMES = frozenset({"book-crossing", "book-crossing-comma", "goodbooks-10k"})

Id = Annotated[str, Field(min_length=1, max_length=200)]


FIRST_YEAR, LAST_YEAR = 1971, 2198  # what every store downstream can hold
# A year as its own time zone writes it may be another in UTC; no zone is a day away.
_FIRST, _LAST = datetime(FIRST_YEAR - 1, 12, 31, tzinfo=UTC), datetime(LAST_YEAR + 1, 1, 2, tzinfo=UTC)


def _to_utc(value: datetime) -> datetime:
    if not _FIRST <= value < _LAST:
        raise ValueError(f"a time must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return value.astimezone(UTC)


Utc = Annotated[AwareDatetime, AfterValidator(_to_utc)]


def uuid7_of(key: str, at: datetime | None = None) -> str:
    """A UUIDv7 (RFC 9562) that depends on its arguments alone, so that an import can be repeated.

    Args:
        key: identity of the thing, for example source, reader, book and time joined.
        at: its time; None (an import without times) gives timestamp 0.
    """
    millis = 0 if at is None else max(0, int(at.timestamp() * 1000)) & ((1 << 48) - 1)
    digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "big")
    rand_a = (digest >> 64) & 0xFFF
    rand_b = digest & ((1 << 62) - 1)
    return str(uuid.UUID(int=millis << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))


class Record(BaseModel):
    """What all records share."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    source: Id = Field(description="Who says so: service, simulate, or the name of a file loader.")
    received_at: Utc = Field(description="When bookworks took the record in.")


class Event(Record):
    """One interaction of a reader with a book, known by `user_id` and `event_id` together: the id is the caller's."""

    event_id: uuid.UUID
    kind: EventKind
    user_id: Id
    edition_id: Id | None = None
    work_id: Id | None = None
    value: float | None = Field(None, allow_inf_nan=False, description="Rating, 0 to 10; 0 means read, not rated.")
    occurred_at: Utc | None = None
    session_id: Id | None = None
    surface: Id | None = None
    decision_id: uuid.UUID | None = None
    position: int | None = Field(None, ge=0, le=10_000)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.edition_id is None and self.work_id is None:
            raise ValueError("edition_id or work_id is needed")
        if self.occurred_at is None and self.source not in SOURCES_WITHOUT_TIMES:
            raise ValueError(f"occurred_at is needed for source {self.source!r}")
        if self.kind == "rating" and (self.value is None or not RATING_MIN <= self.value <= RATING_MAX):
            raise ValueError("a rating needs a value from 0 to 10")
        return self


class Edition(Record):
    """One row of a catalogue, as its source wrote it (text unrepaired)."""

    edition_id: Id
    title: str = Field(max_length=10_000)
    author: str | None = None
    isbn: str | None = None
    year: str | None = None
    publisher: str | None = None
    language: str | None = None
    series: str | None = None
    format: str | None = None
    subjects: list[str] = []
    image_url: str | None = None


class Reader(Record):
    """One reader, as its source wrote it."""

    user_id: Id
    country: str | None = None
    location: str | None = None
    age: int | None = Field(None, ge=0, le=1000)
    tastes: list[str] | None = None  # names of authors and subjects that the reader likes


ContextText = Annotated[str, Field(max_length=200)]


class DecisionItem(BaseModel):
    """One book of a slate."""

    work_id: Id
    position: int = Field(ge=0, le=10_000)
    score: float
    sources: dict[str, float] = {}
    propensity: float = Field(1.0, gt=0, le=1)  # probability that it was shown, given reader and rules


class Decision(Record):
    """What the service showed, to whom, why, by which bundle."""

    decision_id: uuid.UUID
    user_id: Id
    surface: Id
    bundle_version: Id
    tier: str
    fallbacks: list[str] = []
    occurred_at: Utc
    latency_ms: float
    n: int = Field(ge=0, le=10_000)
    context: dict[str, ContextText] = {}
    relaxed: list[str] = []  # rules of the slate that were broken for want of books
    items: list[DecisionItem]


RECORD_OF_TOPIC: dict[str, type[Record]] = {
    "interactions": Event,
    "catalogue": Edition,
    "readers": Reader,
    "decisions": Decision,
}
