"""A decision again, and why a book is not in a reader's slate."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serving import asking, replay, routes, schemas, whynot
from serving.auth import DecisionsCaller, RecommendCaller
from serving.pipeline import Trace
from serving.problems import Problem

router = APIRouter(tags=["books"])


@router.get(
    "/decisions/{decision_id}",
    response_model=schemas.DecisionResponse,
    responses=routes.problems(401, 403, 404, 422, 429, 503),
    summary="A decision again",
)
def decision(
    decision_id: Annotated[uuid.UUID, Path(description="Of a recent answer.")],
    caller: DecisionsCaller,
    request: Request,
) -> Any:
    """The answer exactly as it was given, with what was asked, the rules that held and what the ranker saw.

    For a while only (setting `BOOKWORKS_DECISION_TTL_SECONDS`); a reader finds its own. Features and explanations are
    told while the bundle of the decision serves.
    """
    platform = routes.platform_of(request)
    kept = platform.kept.find(str(decision_id))
    if kept is None or caller.user_id not in {None, kept["answer"]["user_id"]}:
        raise Problem(
            404, "No such decision is kept", field="path.decision_id", received=decision_id,
            allowed=f"one of yours, up to {platform.settings.decision_ttl_seconds} seconds old",
            todo="look into the table `decisions` of ClickHouse, which has all.",
        )  # fmt: skip
    served = platform.bundles.current
    told = {work: routes.explanation(why) for work, why in replay.explanations(served, kept).items()}
    return {**kept, "features": replay.features(served, kept), "explanations": told}


@router.post(
    "/why-not",
    response_model=schemas.WhyNotResponse,
    responses=routes.problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    summary="Why a book is not in a slate",
)
def why_not(body: schemas.WhyNotRequest, caller: RecommendCaller, request: Request) -> Any:
    """Ask as for `/v1/recommend`, and name a book: what keeps it out of the first page of that slate now.

    All that keeps it out is told, in the order of the steps. What is drawn by chance is left aside.
    """
    served, platform, trace = routes.served_of(request), routes.platform_of(request), Trace()
    asked = asking.understood(platform, served, body, caller, routes.new_id(), trace)
    return whynot.told(served, asked, body, trace) | {
        "book": body.book, "user_id": asked.user_id, "bundle_version": served.version, "fallbacks": trace.fallbacks,
    }  # fmt: skip
