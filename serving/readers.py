"""Readers' own data: the history page by page, a book taken out of it, authors sent away, everything as a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import ids_of
from bookworks.contracts.records import FORGET, Event
from serving import schemas
from serving.auth import UsersCaller
from serving.bundles import Served
from serving.lane import Lane
from serving.platform import Platform
from serving.problems import Problem
from serving.routes import KNOWN, SOURCE, BookId, UserId, new_id, platform_of, problems, served_of

router = APIRouter(prefix="/users/{user_id}", tags=["readers"])
_LANE = Lane("readers' data", threads=4, waiting_max=32)  # they wait for Kafka or Postgres
_AUTHORS_MAX = 1000
_MS = timedelta(milliseconds=1)

Author = Annotated[
    schemas.CleanId,
    Path(description="`author_id` or name of an author.", examples=["Agatha Christie"]),
]


@router.get(
    "/history",
    response_model=schemas.HistoryResponse,
    responses=problems(401, 403, 422, 429, 503),
    summary="A reader's history, page by page",
)
def history(
    user_id: UserId,
    caller: UsersCaller,
    request: Request,
    n: Annotated[int, Query(ge=1, le=schemas.N_MAX, description="How many books.")] = schemas.HISTORY_DEFAULT,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to pass over; `next` of a page.")] = 0,
) -> Any:
    """All books that the service knows the reader to have had to do with, the latest first.

    These are the latest 200, then what was read or owned before: of each up to 10,000 books.
    """
    caller.reader(user_id, "path.user_id")
    platform = platform_of(request)
    books = _history(platform.bundles.current, *_kept(platform, user_id))
    end = offset + n
    return {
        "user_id": user_id,
        "total": len(books),
        "items": books[offset:end],
        "next": end if end < len(books) else None,
    }


def _kept(platform: Platform, user_id: str) -> tuple[OnlineReader, dict[str, datetime]]:
    """What Redis knows, with times.

    Raises:
        TransientError: Redis is away; here an answer without it would be a wrong one.
    """
    return platform.history.read(user_id), platform.history.times(user_id)


def _history(served: Served | None, online: OnlineReader, times: dict[str, datetime]) -> list[dict[str, Any]]:
    """One row for each work: several kept books of one work are joined, at the latest time."""
    rows: dict[object, dict[str, Any]] = {}
    never = datetime.min.replace(tzinfo=UTC)
    before = sorted(online.seen - set(online.history), key=lambda book: (times.get(book, never), book), reverse=True)
    for book in [*online.history, *before]:
        index = served.catalogue.index(*ids_of(book)) if served else None
        row = rows.setdefault(
            book if index is None else index,
            {**_named(served, book, index), "weight": 0.0, "at": times.get(book), "read": False, "rating": None},
        )
        row["weight"] = max(row["weight"], online.weights.get(book, 0.0))
        row["read"] |= book in online.seen
        row["rating"] = online.ratings.get(book) if row["rating"] is None else row["rating"]
    return list(rows.values())


def _named(served: Served | None, book: str, index: int | None) -> dict[str, Any]:
    if served is None or index is None:
        return {"work_id": ids_of(book)[-1], "title": None, "author": None}
    catalogue = served.catalogue
    return {
        "work_id": catalogue.work_ids[index],
        "title": catalogue.titles[index],
        "author": catalogue.authors[index],
    }


@router.delete(
    "/history/{work_id}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Take a book out of a reader's history",
)
async def forget(user_id: UserId, work_id: BookId, caller: UsersCaller, request: Request) -> None:
    """Forget all that the reader did with a book until now: from the next answer on, and in all later training.

    What the reader does with it from now on counts again. On 503 send it again: it may be repeated.
    """
    caller.reader(user_id, "path.user_id")
    platform = platform_of(request)
    await _LANE.run(lambda: _forget(platform, user_id, work_id))


def _forget(platform: Platform, user_id: str, work_id: str) -> None:
    """First into the stream, so that every later reading of it forgets too, then out of Redis.

    Raises:
        Problem: 404, there is no such book, here or in the history.
        TransientError: Redis is away, or Kafka, and there is no spool.
    """
    online, times = _kept(platform, user_id)
    events = _forgotten(platform.bundles.current, user_id, work_id, online, times)
    platform.intake.take(events)
    platform.history.remember(events)


def _forgotten(
    served: Served | None, user_id: str, work_id: str, online: OnlineReader, times: dict[str, datetime]
) -> list[Event]:
    """An event for every id by which the stream may have named the book: it is read again without this bundle."""
    kept = {*online.history, *online.seen, *online.dismissed}
    index = served.catalogue.index(work_id) if served else None
    if served is not None and index is not None:
        catalogue = served.catalogue
        books = [book for book in kept if catalogue.index(*ids_of(book)) == index]
        ids = {catalogue.work_ids[index], *catalogue.former_ids(index), *catalogue.editions_of(index)}
    else:
        books, ids = [book for book in kept if work_id in ids_of(book)], set()
    ids |= {ids_of(book)[0] for book in books}
    if not ids:
        raise Problem(
            404, "There is no such book, here or in the history", field="path.work_id", received=work_id,
            allowed="a book of the catalogue or of the history, by any of its ids",
        )  # fmt: skip
    now = clock.now()
    # A caller's clock may be ahead; a thousandth more, as Redis keeps times in whole ones.
    until = max([now, *(times[book] + _MS for book in books if book in times)])
    return [
        Event(
            source=SOURCE,
            received_at=now,
            occurred_at=until,
            event_id=new_id(),
            kind=FORGET,
            user_id=user_id,
            **_as_event(served, one),
        )
        for one in sorted(ids)
    ]


def _as_event(served: Served | None, book_id: str) -> dict[str, str]:
    """The id in the field that it belongs to; in both where nobody knows."""
    if served is None or served.catalogue.index(book_id) is None:
        return {"edition_id": book_id, "work_id": book_id}
    return {"work_id" if served.catalogue.is_work(book_id) else "edition_id": book_id}


@router.put(
    "/dismissed-authors/{author:path}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Not this author",
)
async def dismiss_author(user_id: UserId, author: Author, caller: UsersCaller, request: Request) -> None:
    """No book of this author is recommended to the reader any more, from the next answer on. On 503 send it again."""
    caller.reader(user_id, "path.user_id")
    platform, catalogue = platform_of(request), served_of(request).catalogue
    if not catalogue.of_author(author):
        raise Problem(
            404,
            "There is no such author in the catalogue",
            field="path.author",
            received=author,
            allowed="an author_id or a name, as in GET /v1/books/{work_id}",
        )
    await _LANE.run(lambda: _dismiss(platform, user_id, author))


def _dismiss(platform: Platform, user_id: str, author: str) -> None:
    """Into Postgres, then Redis: when Redis fails the caller repeats, and the first is already there."""
    kept = platform.dismissed_authors.of(user_id)
    if author not in kept and len(kept) >= _AUTHORS_MAX:
        raise Problem(
            422, "Too many authors are dismissed", field="path.author", received=author,
            allowed=f"{_AUTHORS_MAX} authors", todo="take some back.",
        )  # fmt: skip
    platform.dismissed_authors.add(user_id, author)
    platform.history.dismiss_authors({user_id: [author]})


@router.delete(
    "/dismissed-authors/{author:path}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 422, 429, 503),
    summary="This author again",
)
async def take_back_author(user_id: UserId, author: Author, caller: UsersCaller, request: Request) -> None:
    """Books of this author may be recommended again; the same answer when the author was not dismissed."""
    caller.reader(user_id, "path.user_id")
    platform = platform_of(request)
    await _LANE.run(lambda: _take_back(platform, user_id, author))


def _take_back(platform: Platform, user_id: str, author: str) -> None:
    """Whatever hides a book of this author goes: it may have been dismissed by id, or by another name."""
    served = platform.bundles.current
    works = set(served.catalogue.of_author(author)) if served else set()
    kept = platform.dismissed_authors.of(user_id)
    same = [one for one in kept if served and not works.isdisjoint(served.catalogue.of_author(one))]
    platform.dismissed_authors.remove(user_id, [author, *same])
    platform.history.take_back_authors(user_id, [author, *same])


@router.get(
    "/export",
    response_model=schemas.Export,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="All that the service keeps of a reader",
)
def export(user_id: UserId, caller: UsersCaller, request: Request) -> Any:
    """Account, profile, tastes, history and what was sent away, as a file to keep."""
    caller.reader(user_id, "path.user_id")
    platform = platform_of(request)
    online, times = _kept(platform, user_id)
    account, authors = platform.accounts.by_id(user_id), platform.dismissed_authors.of(user_id)
    served = platform.bundles.current
    in_model = served is not None and user_id in served.bundle.users
    if account is None and online == OnlineReader() and not authors and not in_model:
        raise Problem(404, "This reader is not known", field="path.user_id", received=user_id, allowed=KNOWN)
    found = schemas.Export(
        user_id=user_id,
        exported_at=clock.now(),
        account=None if account is None else schemas.ExportedAccount.model_validate(account, from_attributes=True),
        profile=online.profile,
        in_model=in_model,
        history=[schemas.HistoryBook(**row) for row in _history(served, online, times)],
        kept_books=sorted({"/".join(ids_of(book)) for book in {*online.history, *online.seen}}),
        dismissed_books=sorted("/".join(ids_of(book)) for book in online.dismissed),
        dismissed_authors=authors,
    )
    headers = {"Content-Disposition": 'attachment; filename="bookworks-export.json"'}
    body = orjson.dumps(found.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
    return Response(body, media_type="application/json", headers=headers)
