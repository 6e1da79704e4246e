"""The service's answers, typed; what a newer service adds is passed over. A test compares them with its OpenAPI."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of all answers; see docs/users/service.md for what each field means."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class BookPath(Answer):
    """A book of the reader's history that leads to a recommended one; `weight` is the reader's of it, 0 to 1."""

    relation: str
    work_id: str
    title: str
    weight: float
    rating: float | None


class RecommendedBook(Answer):
    """One book of a slate."""

    position: int
    work_id: str
    title: str
    author: str | None
    year: int | None
    image_url: str | None
    score: float
    reasons: list[str]
    sources: dict[str, float]
    explanation: dict[str, Any] | None
    paths: list[BookPath]
    propensity: float


class Note(Answer):
    """Something in the request that changed nothing."""

    field: str
    received: str
    detail: str


class Recommendations(Answer):
    """A slate, and how it came about; `next` is the cursor of the next page."""

    decision_id: uuid.UUID
    user_id: str
    bundle_version: str
    tier: str
    fallbacks: list[str]
    relaxed: list[str]
    notes: list[Note]
    items: list[RecommendedBook]
    next: str | None


class Decision(Answer):
    """A slate again, with what was asked and what the ranker saw."""

    answer: Recommendations
    occurred_at: datetime
    request: dict[str, Any]
    rules: dict[str, Any]
    features: dict[str, dict[str, float | None]]
    explanations: dict[str, dict[str, Any] | None]


class Reason(Answer):
    """What keeps a book out of a slate."""

    step: str
    rule: str
    detail: str


class WhyNot(Answer):
    """Whether a book is in a slate, and why not."""

    book: str
    user_id: str
    bundle_version: str
    fallbacks: list[str]
    work_id: str | None
    title: str | None
    shown: bool
    position: int | None
    reasons: list[Reason]
    rank: int | None
    score: float | None
    sources: dict[str, float]
    candidate: bool | None
    relaxed: list[str]


class Book(Answer):
    """One work."""

    work_id: str
    title: str
    author: str | None
    author_id: str | None
    series: str | None
    series_number: float | None
    publisher: str | None
    year: int | None
    language: str | None
    subjects: list[str]
    image_url: str | None
    editions: list[str]
    former_ids: list[str]
    bundle_version: str


class SimilarBook(Answer):
    """One neighbour of a work."""

    work_id: str
    title: str
    author: str | None
    score: float
    reasons: list[str]


class Similar(Answer):
    """Neighbours of a work."""

    work_id: str
    kind: str
    bundle_version: str
    fallbacks: list[str]
    items: list[SimilarBook]


class FoundBook(Answer):
    """One book that was found."""

    work_id: str
    title: str
    author: str | None
    year: int | None
    language: str | None
    image_url: str | None
    score: float
    reasons: list[str]


class FoundIsbn(Answer):
    """What is to be said of a query that is an ISBN."""

    received: str
    isbn13: str | None
    valid: bool
    detail: str


class Search(Answer):
    """Books that were found."""

    query: str
    bundle_version: str
    personalised: bool
    fallbacks: list[str]
    notes: list[Note]
    isbn: FoundIsbn | None
    items: list[FoundBook]


class Interactions(Answer):
    """What was stored."""

    accepted: int
    event_ids: list[uuid.UUID]
    fallbacks: list[str]


class Token(Answer):
    """A reader's tokens."""

    user_id: str
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class Signup(Token):
    """A new reader's tokens."""

    unknown_books: list[str]
    fallbacks: list[str]


class HistoryItem(Answer):
    """One book of a reader's recent history."""

    work_id: str
    title: str | None
    weight: float


class HistoryBook(HistoryItem):
    """One book of a reader's whole history."""

    author: str | None
    at: datetime | None
    read: bool
    rating: float | None


class History(Answer):
    """A page of a reader's history; `next` is the offset of the next one."""

    user_id: str
    total: int
    items: list[HistoryBook]
    next: int | None


class Export(Answer):
    """All that the service keeps of a reader."""

    user_id: str
    exported_at: datetime
    account: dict[str, Any] | None
    profile: dict[str, Any]
    in_model: bool
    history: list[HistoryBook]
    kept_books: list[str]
    dismissed_books: list[str]
    dismissed_authors: list[str]


class User(Answer):
    """What the service knows of a reader."""

    user_id: str
    username: str | None
    created_at: datetime | None
    country: str | None
    age_bin: str | None
    tastes: list[str]
    history: list[HistoryItem]
    seen: int
    dismissed: int
    dismissed_authors: list[str]
    tier: str | None
    fallbacks: list[str]


class ServedModel(Answer):
    """One source of the blend."""

    name: str
    weights: dict[str, float]
    bytes: int


class ServedRanker(Answer):
    """The trees that put the blend's first works in order."""

    candidates: int
    boosters: int
    features: list[str]
    bytes: int


class CurrentModels(Answer):
    """The bundle that serves now."""

    version: str
    format_version: int
    created_at: datetime
    git_commit: str
    data_version: str
    snapshot_id: str
    mlflow_run_id: str
    n_works: int
    n_users: int
    embedding_dim: int
    vector_index: bool
    models: list[ServedModel]
    ranker: ServedRanker | None
    history_share: dict[str, float]
    rules: dict[str, Any]
    metrics: dict[str, float]
    bytes: int


class Ready(Answer):
    """Which bundle serves."""

    status: str
    bundle_version: str
    vector_index: bool
