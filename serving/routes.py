"""The endpoints: each checks who calls, asks the steps, and answers. What they mean is in `docs/users/service.md`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import uuid_utils
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import ids_of
from bookworks.contracts.records import Decision, DecisionItem, Event
from bookworks.errors import TransientError
from bookworks.models.online_state import flat_tastes
from bookworks.models.trees import Explained
from bookworks.settings import get_settings
from serving import again, asking, cursor, metrics, paths, pipeline, rates, replay, schemas
from serving.again import Kept
from serving.asking import online_of
from serving.auth import SAY_WHO, Caller, InteractionsCaller, RecommendCaller, UsersCaller
from serving.bundles import Served
from serving.kept import Answer
from serving.lane import Lane, computing_threads
from serving.pipeline import HISTORY, Budget, Trace
from serving.platform import Platform
from serving.problems import JSON, MEDIA_TYPE, Problem, unavailable
from serving.similar import Kind
from serving.similar import similar as neighbours

VERSION = "/v1"  # of the interface; what breaks a caller gets the next one
router = APIRouter()
probes = APIRouter(tags=["probes"])  # at no version: what watches the process
SOURCE = "service"
_FUTURE = timedelta(minutes=5)
KNOWN = "a reader who has an account or did something with a book"
_HISTORY_SHOWN = 50
_LANE = Lane("interactions", threads=8, waiting_max=64)  # they wait for Kafka
# They compute: more threads than this would only take turns, and all would end late.
_BOOKS = Lane("recommend", threads=computing_threads(get_settings()), waiting_max=400)

BookId = Annotated[
    schemas.CleanId,
    Path(description="Work id, now or formerly, edition id, ISBN-10 or ISBN-13.", examples=["w001"]),
]
UserId = Annotated[schemas.ReaderId, Path(description="The reader.")]


_PROBLEMS: dict[int, tuple[str, dict[str, str]]] = {  # of each status what it says, and an example's further members
    400: ("The body is no JSON.", {"field": "body", "allowed": JSON}),
    401: ("No token or key, or a wrong or expired one.", {"allowed": "a good token or key", "todo": SAY_WHO}),
    403: ("A reader asked for another, or the key lacks the scope.", {"allowed": "your own user_id or none"}),
    404: ("There is no such thing.", {"received": "nothing", "allowed": "an id of one that is there"}),
    408: ("The body did not come in time.", {"field": "body", "allowed": "all of it within 10 s"}),
    409: (
        "The name is taken; the event is yet to happen, or another one has its event_id.",
        {"field": "body.events.0.occurred_at", "received": "2198-12-31 23:59:59+00:00", "allowed": "until now"},
    ),
    410: ("The cursor is of a bundle that serves no more.", {"field": cursor.FIELD, "todo": "ask for the first page."}),
    413: ("The body is larger than 1 MiB.", {"field": "body", "allowed": "1048576 bytes"}),
    415: ("The body does not say that it is JSON.", {"field": "header.Content-Type", "allowed": "application/json"}),
    422: (
        "A field is missing, wrong or unknown; the answer names it.",
        {"field": "body.n", "received": "101", "allowed": "at most 100"},
    ),
    429: ("Too many calls or failed log-ins; see Retry-After.", {"allowed": "600 a minute", "todo": "wait 42 s."}),
    503: ("A part that is needed is away; see Retry-After.", {"todo": "try again shortly."}),
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for the OpenAPI page, each with an example."""
    return {status: _told(status, *_PROBLEMS[status]) for status in statuses}


def _told(status: int, words: str, members: dict[str, str]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemModel"}
    example = Problem(status, words, **members).body()
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def platform_of(request: Request) -> Platform:
    """The worker's platform."""
    platform: Platform = request.app.state.platform
    return platform


def served_of(request: Request) -> Served:
    """The bundle that serves now.

    Raises:
        Problem: 503 while there is none.
    """
    served = platform_of(request).bundles.current
    if served is None:
        raise Problem(
            503,
            "No bundle is loaded yet",
            todo="promote one (the DAG train_and_promote, or `bookworks models promote`); it is then loaded by itself.",
            headers={"Retry-After": "5"},
        )
    return served


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


@router.post(
    "/recommend",
    response_model=schemas.RecommendResponse,
    responses=problems(400, 401, 403, 408, 410, 413, 415, 422, 429, 503),
    tags=["books"],
    summary="Books for a reader",
)
async def recommend(body: schemas.RecommendRequest, caller: RecommendCaller, request: Request) -> Any:
    """Books for a reader; a new reader and an empty history get an answer too.

    The answer's `decision_id` belongs into the interactions that follow from it. Its `next`, sent as `cursor`, asks for
    the next page: up to 500 books in the order of the first page, whatever the reader does meanwhile.
    """
    started, served, platform = time.perf_counter(), served_of(request), platform_of(request)
    answer = await _BOOKS.run(lambda: _recommend(platform, served, body, caller, started))
    return Response(orjson.dumps(answer), media_type="application/json")  # checked by tests, not each time


def _recommend(
    platform: Platform, served: Served, body: schemas.RecommendRequest, caller: Caller, started: float
) -> dict[str, Any]:
    trace, decision_id = Trace(budget=_budget(platform, started)), new_id()
    asked = asking.understood(platform, served, body, caller, decision_id, trace)
    key = again.key(served.rules.policy, body, asked.user_id, asked.online, trace)
    kept = served.answers.get(key)
    if kept is None:
        kept = _made(platform, served, body, asked, decision_id, trace)
        served.answers.put(key, kept)
    answer = {"decision_id": decision_id, **kept.answer}
    count(answer["tier"], kept.trace)
    _keep(platform, served, body, answer, kept.trace)
    platform.decisions.put(_decision(answer, body, (time.perf_counter() - started) * 1000))
    return answer


def _budget(platform: Platform, started: float) -> Budget | None:
    """The request's time; the wait for a thread is in it."""
    budget_ms = platform.settings.recommend_budget_ms
    return Budget(started, budget_ms / 1000) if budget_ms else None


def _made(
    platform: Platform,
    served: Served,
    body: schemas.RecommendRequest,
    asked: asking.Asked,
    decision_id: str,
    trace: Trace,
) -> Kept:
    """The answer, and how it came about."""
    items, tier = pipeline.recommend(
        served, asked.user_id, asked.online, body.n, body.exclude, trace, body.explain, asked.filters,
        seed=decision_id, page=asked.page,
    )  # fmt: skip
    answer = {
        "user_id": asked.user_id,
        "bundle_version": served.version,
        "tier": tier,
        "fallbacks": trace.fallbacks,
        "relaxed": trace.relaxed,
        "notes": asking.notes(served, body),
        "items": [_recommended(served, position, item) for position, item in enumerate(items)],
        "next": _next(platform, served, asked.user_id, trace.rest if items else []),
    }
    return Kept(answer, trace.of([item.index for item in items]))


def _next(platform: Platform, served: Served, user_id: str, rest: list[int]) -> str | None:
    return cursor.sealed(platform.settings, served.version, user_id, rest) if rest else None


def _keep(
    platform: Platform, served: Served, body: schemas.RecommendRequest, answer: dict[str, Any], trace: Trace
) -> None:
    """Have the answer kept in the background; what a visitor was shown is nobody's."""
    at = clock.now()
    remember = served.rules.policy.recently_shown.places and body.session is None
    platform.kept.put(
        Answer(
            answer["decision_id"],
            answer["user_id"],
            at.timestamp() * 1000,
            tuple(item["work_id"] for item in answer["items"]) if remember else (),
            lambda: replay.document(served, body, answer, trace, at),
        )
    )


def count(tier: str | None, trace: Trace) -> None:
    """Count the answer's tier, and what it was made without."""
    if tier is not None:
        metrics.TIERS.labels(tier).inc()
    for part in trace.fallbacks:
        metrics.FALLBACKS.labels(part).inc()


def _recommended(served: Served, position: int, item: pipeline.Item) -> dict[str, Any]:
    columns = served.catalogue.columns
    return {
        "position": position,
        "work_id": served.catalogue.work_ids[item.index],
        "title": columns["title"][item.index] or "",
        "author": columns["author"][item.index],
        "year": columns["year"][item.index],
        "image_url": columns["image_url"][item.index],
        "score": round(item.score, 6),
        "reasons": item.reasons,
        "sources": {name: round(value, 6) for name, value in item.sources.items()},
        "propensity": round(item.chance, 6),
        "explanation": explanation(item.explained),
        "paths": [_path(served, path) for path in item.paths],
    }


def _path(served: Served, path: paths.Path) -> dict[str, Any]:
    catalogue = served.catalogue
    return {
        "relation": path.relation,
        "work_id": catalogue.work_ids[path.index],
        "title": catalogue.titles[path.index] or "",
        "weight": round(path.weight, 6),
        "rating": path.rating,
    }


def explanation(why: Explained | None) -> dict[str, Any] | None:
    """The ranker's words, the strongest first; features that add nothing are left out."""
    if why is None:
        return None
    added = sorted(why.contributions.items(), key=lambda pair: -abs(pair[1]))
    return {
        "probability": round(why.probability, 6),
        "ranker_score": round(sum(why.contributions.values()), 6),
        "contributions": {name: round(value, 6) for name, value in added if value},
    }


def _decision(answer: dict[str, Any], body: schemas.RecommendRequest, latency_ms: float) -> Decision:
    now = clock.now()
    return Decision(
        source=SOURCE,
        received_at=now,
        occurred_at=now,
        surface=body.surface,
        context=body.context,
        latency_ms=round(latency_ms, 3),
        n=len(answer["items"]),
        items=[
            DecisionItem(**{name: item[name] for name in ("work_id", "position", "score", "sources", "propensity")})
            for item in answer["items"]
        ],
        **{name: answer[name] for name in ("decision_id", "user_id", "bundle_version", "tier", "fallbacks", "relaxed")},
    )


def _index_of(served: Served, work_id: str) -> int:
    index = served.catalogue.index(work_id)
    if index is None:
        raise Problem(
            404,
            "There is no such book in the catalogue",
            field="path.work_id",
            received=work_id,
            allowed="a work id, an edition id, an ISBN-10 or an ISBN-13",
        )
    return index


@router.get(
    "/books/{work_id}",
    response_model=schemas.Book,
    responses=problems(404, 422, 429, 503),
    tags=["books"],
    dependencies=[rates.by_address("books")],
    summary="One book",
)
def book(work_id: BookId, request: Request, response: Response) -> Any:
    """One work with its editions, by work id (also one that was merged into it), edition id or ISBN. Needs no token.

    `work_id` of the answer is the work's id now, and `Content-Location` its address.
    """
    served = served_of(request)
    found = served.catalogue.book(_index_of(served, work_id))
    response.headers["Content-Location"] = f"{VERSION}/books/{quote(found['work_id'], safe='')}"
    return {**found, "bundle_version": served.version}


@router.get(
    "/books/{work_id}/similar",
    response_model=schemas.SimilarResponse,
    responses=problems(404, 422, 429, 503),
    tags=["books"],
    dependencies=[rates.by_address("books")],
    summary="Books like this one",
)
def similar(
    work_id: BookId,
    request: Request,
    n: Annotated[int, Query(ge=1, le=schemas.N_MAX, description="How many books.")] = schemas.N_DEFAULT,
    kind: Annotated[Kind, Query(description="In what they are alike.")] = Kind.ALL,
) -> Any:
    """Neighbours of a work, never an edition of it. Needs no token.

    `behaviour`: read by the same readers. `content`: alike in title, near in vectors. `author`: by the same author, the
    most read first. `series`: of the same series, what comes next first. `all` joins three of these by rank.
    """
    served, trace = served_of(request), Trace()
    index = _index_of(served, work_id)
    items = neighbours(served, index, n, trace, kind)
    count(None, trace)
    catalogue = served.catalogue
    return {
        "work_id": catalogue.work_ids[index],
        "kind": kind,
        "bundle_version": served.version,
        "fallbacks": trace.fallbacks,
        "items": [
            {
                "work_id": catalogue.work_ids[item.index],
                "title": catalogue.titles[item.index] or "",
                "author": catalogue.authors[item.index],
                "score": round(item.score, 6),
                "reasons": item.reasons,
            }
            for item in items
        ],
    }


@router.post(
    "/interactions",
    response_model=schemas.InteractionsResponse,
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    tags=["readers"],
    summary="What readers did",
)
async def interactions(body: schemas.InteractionsRequest, caller: InteractionsCaller, request: Request) -> Any:
    """Store up to 1,000 interactions; answered only when Kafka has them all (at most 2 s, else 503).

    By setting a disk has them while Kafka is away (`fallbacks`: `stream`). Repeat with the same `event_id`: each counts
    once. The reader's next answer knows of them.
    """
    events = _events(body.events, caller)
    platform = platform_of(request)
    if caller.user_id is not None:
        await rates.take(platform, rates.EVENTS, "reader", caller.user_id, len(events))
    if _LANE.full:
        metrics.INTERACTIONS.labels("refused").inc(len(events))
    fallbacks = await _LANE.run(lambda: store(platform, events))
    return {"accepted": len(events), "event_ids": [event.event_id for event in events], "fallbacks": fallbacks}


def store(platform: Platform, events: Sequence[Event]) -> list[str]:
    """Events into Kafka or the spool, then into the readers' history; returns the parts that were away.

    Raises:
        Problem: 503 when neither Kafka nor the spool took them all.
    """
    try:
        fallbacks = platform.intake.take(events)
    except TransientError as error:
        metrics.INTERACTIONS.labels("refused").inc(len(events))
        raise unavailable(error) from error
    metrics.INTERACTIONS.labels("spooled" if fallbacks else "stored").inc(len(events))
    try:
        platform.history.remember(events)
    except TransientError:
        metrics.FALLBACKS.labels(HISTORY).inc()
        return [*fallbacks, HISTORY]
    return fallbacks


def _events(posted: Sequence[schemas.Interaction], caller: Caller) -> list[Event]:
    now = clock.now()
    events: list[Event] = []
    by_id: dict[tuple[str, uuid.UUID], Event] = {}  # an id is its reader's own
    for position, one in enumerate(posted):
        field = f"body.events.{position}"
        user_id = caller.reader(one.user_id, f"{field}.user_id")
        if one.occurred_at is not None and one.occurred_at > now + _FUTURE:
            raise Problem(
                409,
                "That is yet to happen",
                field=f"{field}.occurred_at",
                received=one.occurred_at,
                allowed="until now",
            )
        fields = one.model_dump(exclude={"event_id", "user_id", "occurred_at"}, exclude_none=True)
        event = Event(
            source=SOURCE,
            received_at=now,
            event_id=one.event_id or new_id(),
            user_id=user_id,
            occurred_at=min(one.occurred_at or now, now),  # a caller's clock may be a little ahead
            **fields,
        )
        if by_id.setdefault((user_id, event.event_id), event) != event:
            raise Problem(
                409,
                "Two different events have the same event_id",
                field=f"{field}.event_id",
                received=event.event_id,
                allowed="an id of its own for each event",
            )
        events.append(event)
    return events


@router.get(
    "/users/{user_id}",
    response_model=schemas.UserResponse,
    responses=problems(401, 403, 404, 422, 429),
    tags=["readers"],
    summary="What is known of a reader",
)
def user(user_id: UserId, caller: UsersCaller, request: Request) -> Any:
    """Profile and recent history; a reader sees only its own."""
    caller.reader(user_id, "path.user_id")
    platform, trace = platform_of(request), Trace()
    online = online_of(platform, user_id, trace)
    account = None
    try:
        account = platform.accounts.by_id(user_id)
    except TransientError:
        trace.without("accounts")
    served = platform.bundles.current
    trained = served is not None and user_id in served.bundle.users
    if account is None and online == OnlineReader() and not trained and not trace.fallbacks:
        raise Problem(404, "This reader is not known", field="path.user_id", received=user_id, allowed=KNOWN)
    count(None, trace)
    profile = online.profile
    return {
        "user_id": user_id,
        "username": account.username if account else None,
        "created_at": account.created_at if account else None,
        "country": profile.get("country") or (account.country if account else None),
        "tastes": flat_tastes(profile.get("tastes")) or (account.tastes if account else []),
        "seen": _n_works(served, online.seen),
        "dismissed": _n_works(served, online.dismissed),
        "dismissed_authors": sorted(online.dismissed_authors),
        "fallbacks": trace.fallbacks,
        **_as_served(served, user_id, online),
    }


def _n_works(served: Served | None, books: set[str]) -> int:
    """How many works these are; a book that the bundle does not know counts as one."""
    if served is None:
        return len(books)
    return len({book if (i := served.catalogue.index(*ids_of(book))) is None else i for book in books})


def _as_served(served: Served | None, user_id: str, online: OnlineReader) -> dict[str, Any]:
    if served is None:
        history = [
            {"work_id": ids_of(book)[-1], "title": None, "weight": online.weights.get(book, 1.0)}
            for book in online.history
        ]
        return {"age_bin": online.profile.get("age_bin"), "tier": None, "history": history[:_HISTORY_SHOWN]}
    known = pipeline.history_step(served, user_id, online).state
    latest = list(zip(known.history, known.weights, strict=True))[::-1][:_HISTORY_SHOWN]
    catalogue = served.catalogue
    return {
        "age_bin": known.age_bin,
        "tier": served.bundle.tier_of(known),
        "history": [
            {"work_id": catalogue.work_ids[i], "title": catalogue.titles[i], "weight": weight} for i, weight in latest
        ],
    }


@probes.get("/healthz", response_model=schemas.Health, summary="Does the process live?")
async def healthz() -> Any:
    """200 while the process lives."""
    return {"status": "ok"}


@probes.get(
    "/readyz",
    response_model=schemas.Ready,
    responses=problems(503),
    summary="Can it recommend?",
)
async def readyz(request: Request) -> Any:
    """200 once a bundle is loaded, else 503."""
    served = served_of(request)
    return {"status": "ready", "bundle_version": served.version, "vector_index": served.vectors is not None}


@probes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}},
    summary="Prometheus metrics",
)
def metrics_page() -> Response:
    """BentoML's metrics and ours, of all workers."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    client = BentoMLContainer.metrics_client.get()
    return Response(client.generate_latest(), media_type=client.CONTENT_TYPE_LATEST)
