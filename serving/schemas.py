"""Requests and answers of the service, typed; the OpenAPI page is made from them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bookworks import clock
from bookworks.contracts.records import ContextText, Id, ReaderKind, Utc
from serving import examples
from serving.paths import Relation

N_DEFAULT, N_MAX = 10, 100
EVENTS_MAX = 1000
HISTORY_DEFAULT = 50
EXCLUDE_MAX = 1000
FILTER_MAX = 20
SESSION_MAX = 100
CONTEXT_MAX = 20
OLDEST_BIRTH_YEAR = 1900


# What must hold is said by the schema, so that whoever reads the page knows it: no control characters, no line breaks.
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
_PRINTABLE_OR_EMPTY = _PRINTABLE.replace("+$", "*$")
_HAS_LETTERS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_USERNAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{2,63}$"
_CONTEXT_KEY = r"^[a-z][a-z0-9_]{0,39}$"
PATTERNS = {  # in words
    _PRINTABLE: "characters that can be printed, on one line",
    _PRINTABLE_OR_EMPTY: "characters that can be printed, on one line, or none",
    _HAS_LETTERS: "characters that can be printed, on one line, not blanks alone",
    _USERNAME: "3 to 64 of a-z, 0-9 and . _ @ + -, the first a letter or a digit",
    _CONTEXT_KEY: "1 to 40 of a-z, 0-9 and _, the first a letter",
}
_IN_ADDRESSES = _PRINTABLE.replace("[^", "[^/")
PATTERNS[_IN_ADDRESSES] = "characters that can be printed, on one line, no slash"
CleanId = Annotated[Id, StringConstraints(pattern=_PRINTABLE)]
ReaderId = Annotated[Id, StringConstraints(pattern=_IN_ADDRESSES)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_HAS_LETTERS)]
Username = Annotated[str, StringConstraints(to_lower=True, pattern=_USERNAME)]


def _a_text(value: Any) -> Any:
    if not isinstance(value, (str, datetime)):
        raise ValueError("a time as in RFC 3339, in quotes")
    return value


class Request(BaseModel):
    """Unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


def _born(year: int) -> int:
    if year > clock.now().year:
        raise ValueError("a year up to this one: nobody is born later yet")
    return year


BirthYear = Annotated[
    int,
    Field(strict=True, ge=OLDEST_BIRTH_YEAR, json_schema_extra=lambda schema: schema.update(maximum=clock.now().year)),
    AfterValidator(_born),
]
Year = Annotated[int, Field(strict=True, ge=-5000, le=3000)]
ContextKey = Annotated[str, StringConstraints(pattern=_CONTEXT_KEY)]


class BookFilters(Request):
    """Only books that meet every field that is given; of a list one is enough. `notes` tell of a name that none has."""

    languages: list[Name] = Field(
        [], max_length=FILTER_MAX, description="As the catalogue writes them, for example `en`."
    )
    authors: list[Name] = Field([], max_length=FILTER_MAX, description="Names, other names or ids of authors.")
    subjects: list[Name] = Field([], max_length=FILTER_MAX, description="As the catalogue writes them.")
    year_from: Year | None = Field(
        None, description="First published in this year or later; unknown years do not pass."
    )
    year_to: Year | None = Field(None, description="First published in this year or earlier.")


class Session(Request):
    """A visitor without an account, as a calling service knows it."""

    history: list[CleanId] = Field(
        [], max_length=SESSION_MAX, description="Works, editions or ISBNs, the latest last. They count as read."
    )


_YEARS = r"^(197[1-9]|19[89][0-9]|20[0-9]{2}|21[0-8][0-9]|219[0-8])-"  # as `Utc` takes them
_TEXT, _NOTHING, _NUMBER = {"type": "string"}, {"type": "null"}, {"type": "number"}
_TOGETHER = [
    {"anyOf": [{"required": [name], "properties": {name: _TEXT}} for name in ("work_id", "edition_id")]},
    {
        "if": {"properties": {"kind": {"const": "rating"}}},
        "then": {"required": ["value"], "properties": {"value": _NUMBER}},
        "else": {"properties": {"value": _NOTHING}},
    },
]
_ONE_AGE = {"anyOf": [{"properties": {name: _NOTHING}} for name in ("birth_year", "age")]}
_ONE_READER = {"anyOf": [{"properties": {name: _NOTHING}} for name in ("user_id", "session")]}
_PAGE_HAS_FILTERS = {"anyOf": [{"properties": {"cursor": _NOTHING}}, {"properties": {"filters": {"maxProperties": 0}}}]}
_FIRST_PAGE = {"properties": {"cursor": _NOTHING}}


class RecommendRequest(Request):
    """Whom to recommend books to, and how many."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "allOf": [_ONE_READER, _PAGE_HAS_FILTERS],
            "examples": [
                {"user_id": "r001", "n": 5, "surface": "home"},
                {"session": {"history": ["w001", "w002-e0"]}, "filters": {"languages": ["en"], "year_from": 1990}},
            ],
        },
    )

    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=4000,
        description="`next` of an earlier answer to the same reader, for its next page; filters stay as they were.",
    )
    user_id: ReaderId | None = Field(
        None,
        description="The reader. With X-API-Key this or `session` is needed; with a reader's token it may be left out.",
    )
    session: Session | None = Field(None, description="With X-API-Key, instead of `user_id`: a visitor.")
    n: Annotated[int, Field(strict=True, ge=1, le=N_MAX)] = Field(N_DEFAULT, description="How many books.")
    surface: CleanId = Field("home", description="Where the books are shown; kept with the decision.")
    exclude: list[CleanId] = Field(
        [], max_length=EXCLUDE_MAX, description="Works, editions or ISBNs not to recommend this time."
    )
    explain: bool = Field(
        False,
        strict=True,
        description="Say of each book what the ranker made of it, and what in the history leads to it.",
    )
    filters: BookFilters = Field(BookFilters(), description="Which books are wanted; others are hidden before ranking.")
    context: dict[ContextKey, Annotated[ContextText, StringConstraints(pattern=_PRINTABLE_OR_EMPTY)]] = Field(
        {},
        max_length=CONTEXT_MAX,
        description="Device, locale and the like, as texts: kept with the decision, changes no slate.",
        json_schema_extra={"additionalProperties": False},
    )

    @model_validator(mode="after")
    def _one_reader(self) -> Self:
        if self.user_id is not None and self.session is not None:
            raise ValueError("user_id or session, not both")
        if self.cursor is not None and self.filters != BookFilters():
            raise ValueError("a cursor without filters: it has them already")
        return self


class Explanation(BaseModel):
    """What the ranker made of a book."""

    probability: float = Field(description="That such a reader reads it, as found on held-out readers.")
    ranker_score: float = Field(description="By which the ranker orders books, higher first.")
    contributions: dict[str, float] = Field(
        description="What each feature adds to `ranker_score`, exactly: with `base` and `new_work` they sum to it."
    )


_RATING = "What the reader last rated it, to 10; empty where it did not, and for what is long ago."


class BookPath(BaseModel):
    """A book of the reader's own history that leads to a recommended one."""

    relation: Relation = Field(
        description="`next_in_series`: the recommended book is the next volume after this one. `same_series`, "
        "`same_author`: of this one's series, by its author. `read_by_the_same_readers`: the item filter finds it by "
        "this one. Where several hold, the first of them."
    )
    work_id: str
    title: str
    weight: float = Field(
        description="The reader's weight of this book, 0 to 1: the greatest of what it did; a rating counts a tenth."
    )
    rating: float | None = Field(None, description=_RATING)


class RecommendedBook(BaseModel):
    """One book of the slate."""

    position: int = Field(description="From 0.")
    work_id: str
    title: str
    author: str | None
    year: int | None = None
    image_url: str | None = None
    score: float
    reasons: list[str] = Field(
        description="`promoted` or `exploration` where a rule put it here, then the sources that spoke for it, the "
        "strongest first."
    )
    sources: dict[str, float] = Field(description="What each source added to the blended score.")
    propensity: float = Field(1.0, description="Probability that it was shown: below 1 where it was drawn.")
    explanation: Explanation | None = Field(None, description="With `explain`, where the ranker has ordered the book.")
    paths: list[BookPath] = Field(
        [], description="With `explain`: at most three books of the reader's history that lead to this one."
    )


class Note(BaseModel):
    """Something in the request that changed nothing, though it is no mistake."""

    field: str
    received: str
    detail: str


class RecommendResponse(BaseModel):
    """A slate, and how it came about."""

    model_config = examples.example(examples.RECOMMENDATIONS)

    decision_id: uuid.UUID = Field(description="Send it back with the interactions that follow.")
    user_id: str = Field(
        description="The reader; of a session a name of its own, under which interactions may be sent."
    )
    bundle_version: str
    tier: str = Field(description="What was known of the reader: warm, session, tastes or cold.")
    fallbacks: list[str] = Field(description="Parts that were away; the answer was made without them.")
    relaxed: list[str] = Field(description="Rules of the slate that were broken, because too few books were left.")
    notes: list[Note] = Field(description="Names and books of the request that this catalogue does not have.")
    items: list[RecommendedBook]
    next: str | None = Field(description="Send it as `cursor` for the next page; empty when no more may follow.")


class DecisionResponse(BaseModel):
    """A decision again."""

    model_config = examples.example(examples.DECISION)

    answer: RecommendResponse = Field(description="Exactly as it was given.")
    occurred_at: datetime
    request: dict[str, Any] = Field(
        description="What was asked, without what was left at its default; of `exclude` 50, then with `exclude_total`."
    )
    rules: dict[str, Any] = Field(description="The rules that held for the reader; of blocked lists their names.")
    features: dict[str, dict[str, float | None]] = Field(
        description="By work: what the ranker saw of it. Empty where it ordered nothing, or the bundle serves no more."
    )
    explanations: dict[str, Explanation | None] = Field(description="By work: what the ranker made of that.")


class WhyNotRequest(RecommendRequest):
    """A slate and a book that may be missing in it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "allOf": [_ONE_READER, _FIRST_PAGE],
            "examples": [{"user_id": "r001", "n": 5, "book": "w001"}],
        },
    )

    book: CleanId = Field(description="A work, an edition or an ISBN.")

    @model_validator(mode="after")
    def _first_page(self) -> Self:
        if self.cursor is not None:
            raise ValueError("no cursor: this is told of the first page")
        return self


class Reason(BaseModel):
    """What keeps a book out of a slate."""

    step: str = Field(description="catalogue, history, request, filters, blocked, candidates, rank or rules.")
    rule: str = Field(description="For example read, dismissed, a field of `filters`, a list's name, author.")
    detail: str


class WhyNotResponse(BaseModel):
    """Whether a book is in the slate, and why not."""

    model_config = examples.example(examples.WHY_NOT)

    book: str
    user_id: str
    bundle_version: str
    fallbacks: list[str]
    work_id: str | None = None
    title: str | None = None
    shown: bool
    position: int | None = Field(None, description="In the slate, from 0.")
    reasons: list[Reason] = Field(
        description="All that keeps it out, in the order of the steps; empty when it is shown."
    )
    rank: int | None = Field(
        None, description="By score, from 1, among all that may be shown; empty when it may not be."
    )
    score: float | None = None
    sources: dict[str, float] = {}
    candidate: bool | None = Field(None, description="Whether the ranker looked at it; empty where no ranker orders.")
    relaxed: list[str] = Field([], description="Rules of the slate that were broken.")


class Book(BaseModel):
    """One work."""

    model_config = examples.example(examples.BOOK)

    work_id: str
    title: str
    author: str | None
    author_id: str | None = None
    series: str | None = None
    series_number: float | None = Field(None, description="Place in the series.")
    publisher: str | None = None
    year: int | None = None
    language: str | None = None
    subjects: list[str] = []
    image_url: str | None = None
    editions: list[str] = Field([], description="Edition ids and ISBN-13s of this work.")
    former_ids: list[str] = Field([], description="Ids of works that were merged into this one; they lead here.")
    bundle_version: str


class SimilarBook(BaseModel):
    """One neighbour of a work."""

    work_id: str
    title: str
    author: str | None
    score: float
    reasons: list[str]


class SimilarResponse(BaseModel):
    """Neighbours of a work, the nearest first."""

    model_config = examples.example(examples.SIMILAR)

    work_id: str
    kind: str = Field(description="In what they are alike, as asked.")
    bundle_version: str
    fallbacks: list[str]
    items: list[SimilarBook]


class Interaction(Request):
    """One thing that a reader did with a book."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"allOf": _TOGETHER})

    event_id: uuid.UUID | None = Field(None, description="Makes a repeat harmless; left out, the service gives one.")
    kind: ReaderKind
    user_id: ReaderId | None = Field(None, description="As in /v1/recommend.")
    work_id: CleanId | None = None
    edition_id: CleanId | None = Field(None, description="Edition id or ISBN.")
    value: Annotated[float, Field(strict=True, ge=0, le=10)] | None = Field(
        None, description="A rating, 0 to 10; 0 means read, not rated."
    )
    occurred_at: Annotated[Utc, BeforeValidator(_a_text)] | None = Field(
        None, description="With a time zone; left out, now.", json_schema_extra={"pattern": _YEARS}
    )
    session_id: CleanId | None = None
    surface: CleanId | None = None
    decision_id: uuid.UUID | None = Field(None, description="Of the slate that showed the book.")
    position: Annotated[int, Field(strict=True, ge=0, le=10_000)] | None = Field(None, description="In that slate.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.work_id is None and self.edition_id is None:
            raise ValueError("work_id, edition_id or both")
        if (self.value is not None) != (self.kind == "rating"):
            raise ValueError("a value for a rating, and for nothing else")
        return self


class InteractionsRequest(Request):
    """Up to 1,000 interactions, stored all or none."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"events": [{"kind": "click", "work_id": "w001"}]}]}
    )

    events: list[Interaction] = Field(min_length=1, max_length=EVENTS_MAX)


class InteractionsResponse(BaseModel):
    """Stored for good, every one: in Kafka, or on a disk until Kafka has them."""

    model_config = examples.example(examples.INTERACTIONS)

    accepted: int
    event_ids: list[uuid.UUID]
    fallbacks: list[str] = Field(
        description="`stream`: on a disk, Kafka gets it later. `history`: the next answer may not know of it yet."
    )


class Tastes(Request):
    """What a new reader likes, asked at the door."""

    authors: list[Name] = Field([], max_length=50)
    subjects: list[Name] = Field([], max_length=50)
    books: list[CleanId] = Field([], max_length=50, description="Loved books: work ids, edition ids or ISBNs.")


class SignupRequest(Request):
    """A new reader."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=_ONE_AGE
        | {
            "examples": [
                {
                    "username": "ada",
                    "password": "a long pass phrase",
                    "country": "germany",
                    "birth_year": 1990,
                    "tastes": {"authors": ["Ursula K. Le Guin"], "subjects": ["science fiction"], "books": []},
                }
            ]
        },
    )

    username: Username = Field(description="3 to 64 of a-z 0-9 . _ @ + -; upper case is folded.")
    password: str = Field(min_length=10, max_length=200, description="At least 10 characters.")
    country: Name | None = Field(None, description="In words or as ISO 3166-1 code; an unknown one is left out.")
    birth_year: BirthYear | None = None
    age: Annotated[int, Field(strict=True, ge=3, le=125)] | None = Field(None, description="Instead of birth_year.")
    tastes: Tastes = Tastes()

    @model_validator(mode="after")
    def _one_age(self) -> Self:
        if self.birth_year is not None and self.age is not None:
            raise ValueError("birth_year or age, not both")
        return self


class LoginRequest(Request):
    """Who is at the door."""

    username: Username
    password: str = Field(min_length=1, max_length=200)


class RefreshRequest(Request):
    """A session that goes on, or ends."""

    refresh_token: str = Field(
        min_length=1,
        max_length=200,
        description="From sign-up, log-in or the last refresh.",
        examples=["0f8e6c1d2b3a4958a7b6c5d4e3f20190.dGhlIHNlY3JldCBvZiBhIHJlZnJlc2ggdG9rZW4gaXMgdGhpcw"],
    )


class TokenResponse(BaseModel):
    """A reader's tokens: the access token is sent as `Authorization: Bearer …`, the refresh token to /v1/auth alone."""

    model_config = examples.example(examples.TOKEN)

    user_id: str
    access_token: str
    refresh_token: str = Field(description="For one use at /v1/auth/refresh, which answers with the next.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the word of RFC 6750, no secret
    expires_in: int = Field(description="Seconds.")


class SignupResponse(TokenResponse):
    """The new reader's tokens."""

    model_config = examples.example(examples.SIGNUP)

    unknown_books: list[str] = Field(description="Loved books that the catalogue does not have.")
    fallbacks: list[str] = Field(
        description="`stream`: on a disk, Kafka gets it later. `history`: the next answer may not know of it yet."
    )


class HistoryItem(BaseModel):
    """One book of a reader's recent history."""

    work_id: str
    title: str | None
    weight: float


class HistoryBook(HistoryItem):
    """One book of a reader's whole history."""

    author: str | None
    at: datetime | None = Field(description="When the reader last had to do with it; empty where no time is known.")
    read: bool = Field(description="Read or owned.")
    rating: float | None = Field(None, description=_RATING)


class HistoryResponse(BaseModel):
    """A page of a reader's history."""

    model_config = examples.example(examples.HISTORY)

    user_id: str
    total: int = Field(description="Books of the whole history.")
    items: list[HistoryBook] = Field(description="The latest first.")
    next: int | None = Field(description="`offset` of the next page; empty on the last one.")


class ExportedAccount(BaseModel):
    """An account without its password's hash."""

    username: str
    country: str | None
    birth_year: int | None
    tastes: list[str]
    created_at: datetime


class Export(BaseModel):
    """All that the service keeps of a reader."""

    model_config = examples.example(examples.EXPORT)

    user_id: str
    exported_at: datetime
    account: ExportedAccount | None
    profile: dict[str, Any] = Field(description="Country, age, tastes, as recommendations use them.")
    in_model: bool = Field(description="Whether the model that serves was taught with what the reader did.")
    history: list[HistoryBook]
    kept_books: list[str] = Field(description="The history's books by the ids that events named, joined by `/`.")
    dismissed_books: list[str]
    dismissed_authors: list[str]


class UserResponse(BaseModel):
    """What the service knows of a reader."""

    model_config = examples.example(examples.USER)

    user_id: str
    username: str | None = None
    created_at: datetime | None = None
    country: str | None = None
    age_bin: str | None = None
    tastes: list[str] = []
    history: list[HistoryItem] = Field(description="The latest first, at most 50.")
    seen: int = Field(description="Works read or owned.")
    dismissed: int
    dismissed_authors: list[str] = Field(description="Authors sent away, by id or name.")
    tier: str | None = Field(description="The tier that would answer now; empty while no bundle is loaded.")
    fallbacks: list[str] = Field(description="Parts that were away: `history`, `accounts`.")


class Health(BaseModel):
    """Whether the process lives."""

    model_config = examples.example(examples.HEALTH)

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether the service can recommend."""

    model_config = examples.example(examples.READY)

    status: Literal["ready"] = "ready"
    bundle_version: str
    vector_index: bool = Field(description="Whether the vector collection of this bundle is open.")
