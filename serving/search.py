"""`GET /v1/search`: books by words as they are typed, by ISBN, and what is near to these."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from bookworks.models.search import Hit, TypedIsbn, typed_isbn
from bookworks.models.text_index import words_of
from serving import asking, examples, pipeline, schemas
from serving.auth import SAY_WHO, Caller, RecommendCallerIfAny, unauthorised
from serving.bundles import Served
from serving.facets import LANGUAGES, SUBJECTS, Bools, Filters
from serving.pipeline import Trace
from serving.platform import Platform
from serving.routes import count, platform_of, problems, served_of
from serving.rules import hide

router = APIRouter(tags=["books"])
QUERY_MAX = 200
ISBN, ISBN_SLIP = "isbn", "isbn_slip"
_LOOKED_AT = 4 * schemas.N_MAX  # of which twins are left out
_PARAMETER = {LANGUAGES: "language", SUBJECTS: "subject"}
_TYPED = 1.0  # score of a book whose ISBN was typed


class FoundBook(BaseModel):
    """One book that was found."""

    work_id: str
    title: str
    author: str | None
    year: int | None = None
    language: str | None = None
    image_url: str | None = None
    score: float = Field(description="Compare within one answer only.")
    reasons: list[str] = Field(
        description="What found it, the strongest first: words, vectors, title_text, isbn or isbn_slip."
    )


class FoundIsbn(BaseModel):
    """What is to be said of a query that is an ISBN."""

    received: str
    isbn13: str | None = Field(description="Empty where the check digit is wrong.")
    valid: bool
    detail: str


class SearchResponse(BaseModel):
    """Books, the best first; fewer than asked, or none, where no more are found."""

    model_config = examples.example(examples.SEARCH)

    query: str
    bundle_version: str
    personalised: bool
    fallbacks: list[str] = Field(description="Parts that were away; the answer was made without them.")
    notes: list[schemas.Note] = Field(description="Filters that no book of this catalogue passes.")
    isbn: FoundIsbn | None = Field(description="Only for a query that is an ISBN.")
    items: list[FoundBook]


class Asked(BaseModel):
    """The query's parameters."""

    q: Annotated[
        str,
        Field(
            min_length=1,
            max_length=QUERY_MAX,
            description="Words of title, author and series in any order, or an ISBN.",
            examples=["lord of teh rings", "Tolkien J R R", "978-0-441-47812-5"],
        ),
    ]
    n: int = Field(schemas.N_DEFAULT, ge=1, le=schemas.N_MAX, description="How many books.")
    language: schemas.CleanId | None = Field(None, description="As the catalogue writes it.", examples=["en"])
    year_from: int | None = Field(None, ge=-5000, le=2200, description="First year; works without a year are left out.")
    year_to: int | None = Field(None, ge=-5000, le=2200, description="Last year; works without a year are left out.")
    author: schemas.CleanId | None = Field(None, description="Words that the author's name must have, in any order.")
    subject: schemas.CleanId | None = Field(None, description="A subject that the work must have, whole.")
    user_id: schemas.ReaderId | None = Field(
        None, description="With personalised. Needed with X-API-Key; with a reader's token it may be left out."
    )
    personalised: bool | None = Field(
        None,
        description="What the reader likes comes sooner; needs a token or a key. Left out: if `user_id` is given.",
    )


@router.get(
    "/search",
    response_model=SearchResponse,
    responses=problems(401, 403, 422, 429, 503),
    summary="Find books",
    openapi_extra={"security": [{}]},  # nobody needs to say who calls
)
def search(asked: Annotated[Asked, Query()], caller: RecommendCallerIfAny, request: Request) -> Any:
    """Books whose title, author or series has the words, in any order and with slips of the pen, or that have the ISBN.

    What is near to the best of these follows. Needs no token, except with `personalised`.
    """
    user_id = _reader(asked, caller)
    served, trace = served_of(request), Trace()
    isbn = typed_isbn(asked.q)
    with trace.step("search"):
        if isbn is not None:
            told, hits = _by_isbn(served, asked.q, isbn)
        else:
            told, hits = None, _by_words(served, platform_of(request), asked, user_id, trace)
    count(None, trace)
    return {
        "query": asked.q,
        "bundle_version": served.version,
        "personalised": user_id is not None,
        "fallbacks": trace.fallbacks,
        "notes": _notes(served, asked),
        "isbn": told,
        "items": [_found(served, hit) for hit in hits[: asked.n]],
    }


def _reader(asked: Asked, caller: Caller | None) -> str | None:
    """Whose scores count.

    Raises:
        Problem: 401 or 403 where that cannot be said.
    """
    if asked.personalised or (asked.personalised is None and asked.user_id is not None):
        if caller is None:
            raise unauthorised("Personalised for whom?", SAY_WHO, field="query.personalised")
        return caller.reader(asked.user_id, "query.user_id")
    return None


def _by_words(served: Served, platform: Platform, asked: Asked, user_id: str | None, trace: Trace) -> list[Hit]:
    reader, blocked = None, served.rules.blocked_for(None, None)
    if user_id is not None:
        online = asking.online_of(platform, user_id, trace)
        state = pipeline.history_step(served, user_id, online).state
        reader = served.bundle.score(state, pipeline.candidates_step(served, state, trace)).total
        blocked = pipeline.blocked_for(served, state, online)
    hits = served.catalogue.search.find(
        asked.q,
        _LOOKED_AT,
        hide(blocked, _allowed(served, asked), len(served.bundle)),
        lambda vector, limit: pipeline.nearest(served, vector, limit, trace),
        reader,
    )
    first: dict[str | int, Hit] = {}  # of works that are most likely the same book
    for hit in hits:
        first.setdefault(served.catalogue.twin_keys[hit.index] or hit.index, hit)
    return list(first.values())


def _filters(asked: Asked) -> Filters:
    """All but the author, who is found by words."""
    languages, subjects = ([one] if one else [] for one in (asked.language, asked.subject))
    return Filters(languages, (), subjects, asked.year_from, asked.year_to)


def _allowed(served: Served, asked: Asked) -> Bools | None:
    """Which works may be found; None: all."""
    mask = served.catalogue.facets.mask(_filters(asked))
    if asked.author is None:
        return mask
    by_author = _by_author(served, asked.author)
    return by_author if mask is None else mask & by_author


def _by_author(served: Served, author: str) -> Bools:
    return served.catalogue.search.index.having(words_of(author), "author")


def _notes(served: Served, asked: Asked) -> list[dict[str, Any]]:
    """Filters that let nothing through."""
    told = asking.filter_notes(
        served.catalogue, _filters(asked), lambda field, _: f"query.{_PARAMETER.get(field, field)}"
    )
    if asked.author is not None and not _by_author(served, asked.author).any():
        told.append(asking.note("query.author", asked.author, asking.NO_BOOK))
    return told


def _by_isbn(served: Served, query: str, isbn: TypedIsbn) -> tuple[dict[str, Any], list[Hit]]:
    """What is to be said of the ISBN, and the work that has it; with a wrong check digit those that may be meant."""
    index = served.catalogue.index(isbn.isbn13 or isbn.digits)
    if index is not None:
        hits, detail = [Hit(index, {ISBN: _TYPED})], "This book."
    elif isbn.valid:
        hits, detail = [], "A right ISBN, but the catalogue has no such book."
    else:
        found = (served.catalogue.index(meant) for meant in isbn.meant)
        hits = [Hit(i, {ISBN_SLIP: _TYPED}) for i in dict.fromkeys(found) if i is not None]
        detail = "This is no ISBN: the check digit is wrong, or no such number is given out."
        detail += " These books have one that differs by one slip." if hits else " No book has one like it."
    return {"received": query, "isbn13": isbn.isbn13, "valid": isbn.valid, "detail": detail}, hits


def _found(served: Served, hit: Hit) -> dict[str, Any]:
    columns, index = served.catalogue.columns, hit.index
    return {
        "work_id": served.catalogue.work_ids[index],
        **{name: columns[name][index] for name in ("author", "year", "language", "image_url")},
        "title": columns["title"][index] or "",
        "score": round(hit.score, 6),
        "reasons": sorted(hit.sources, key=lambda name: -hit.sources[name]),
    }
