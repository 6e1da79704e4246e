"""What a request for books means: for whom, of which books, and what in it the catalogue does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.errors import TransientError
from serving import cursor, schemas
from serving.auth import Caller
from serving.bundles import Served
from serving.catalogue import Catalogue
from serving.facets import Filters
from serving.pipeline import HISTORY, Trace
from serving.platform import Platform
from serving.problems import Problem

NO_BOOK = "No book of the catalogue has this value"
_VISITOR = "visitor-"


@dataclass(frozen=True)
class Asked:
    """A request for books, understood.

    Attributes:
        user_id: the reader, or the name of a visitor.
        online: what is known of it.
        filters: which books are wanted.
        page: works that an earlier page left; None: the first page.
    """

    user_id: str
    online: OnlineReader
    filters: Filters
    page: list[int] | None


def understood(
    platform: Platform, served: Served, body: schemas.RecommendRequest, caller: Caller, decision_id: str, trace: Trace
) -> Asked:
    """What a request asks for.

    Raises:
        Problem: 403, no reader or another one is named, a reader's token came with a session, or the cursor is not of
            this reader; 410, the cursor is of an earlier bundle.
    """
    user_id, known = reader(platform, body, caller, decision_id, trace)
    page = None
    if body.cursor is not None:
        owner, page = cursor.opened(platform.settings, served.version, body.cursor)
        if body.session is not None and owner.startswith(_VISITOR):
            user_id = owner
        if owner != user_id:
            raise Problem(
                403, "The cursor belongs to another reader", field=cursor.FIELD, received=body.cursor,
                allowed="`next` of an answer to this reader", todo="ask for the first page.",
            )  # fmt: skip
    return Asked(user_id, known, filters(body.filters), page)


def online_of(platform: Platform, user_id: str, trace: Trace) -> OnlineReader:
    """What Redis knows of a reader; nothing when it is away, and `trace` takes note."""
    try:
        return platform.history.read(user_id)
    except TransientError:
        trace.without(HISTORY)
        return OnlineReader()


def reader(
    platform: Platform, body: schemas.RecommendRequest, caller: Caller, decision_id: str, trace: Trace
) -> tuple[str, OnlineReader]:
    """The reader and what is known of it; a visitor is named after the decision, and known by its session alone.

    Raises:
        Problem: 403, no reader or another one is named, or a reader's token came with a session.
    """
    if body.session is None:
        user_id = caller.reader(body.user_id, "body.user_id")
        return user_id, online_of(platform, user_id, trace)
    if caller.user_id is not None:
        raise Problem(
            403, "A session is for visitors of a calling service", field="body.session",
            allowed="a reader's token without it, or X-API-Key",
        )  # fmt: skip
    history = list(dict.fromkeys(reversed(body.session.history)))
    return _VISITOR + decision_id, OnlineReader(
        history=history,
        weights=dict.fromkeys(history, 1.0),
        seen=set(history),
        latest_at=clock.now() if history else None,
    )


def filters(asked: schemas.BookFilters) -> Filters:
    """The filters of a request."""
    return Filters(**asked.model_dump())


def notes(served: Served, body: schemas.RecommendRequest) -> list[dict[str, Any]]:
    """Values of filters and books of a session that the catalogue does not have."""
    catalogue = served.catalogue
    told = filter_notes(catalogue, filters(body.filters), _in_body)
    history = body.session.history if body.session else []
    missing = [(place, book) for place, book in enumerate(history) if catalogue.index(book) is None]
    return told + [
        note(f"body.session.history.{place}", book, "No such book in the catalogue") for place, book in missing
    ]


def _in_body(field: str, place: int | None) -> str:
    return f"body.filters.{field}" + ("" if place is None else f".{place}")


def filter_notes(
    catalogue: Catalogue, asked: Filters, name_of: Callable[[str, int | None], str]
) -> list[dict[str, Any]]:
    """Values of filters that no book has, and years that leave none.

    Args:
        catalogue: where the values are looked for.
        asked: the filters.
        name_of: how the request calls a field of the filters, with the place in its list.
    """
    told = [note(name_of(field, place), name, NO_BOOK) for field, place, name in catalogue.facets.unknown(asked)]
    first, last = asked.year_from, asked.year_to
    if first is not None and last is not None and first > last:
        told.append(note(name_of("year_to", None), str(last), f"No year from {first} is in that span"))
    return told


def note(field: str, received: str, detail: str) -> dict[str, Any]:
    """A `schemas.Note`."""
    return {"field": field, "received": received, "detail": detail}
