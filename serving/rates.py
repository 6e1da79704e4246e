"""How often one caller may ask: a fixed window of a minute for each caller and class of routes, counted in Redis.

A limit of 0 is none, and costs nothing. Without Redis there is none either; `bookworks_fallbacks_total` says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency
from starlette.concurrency import run_in_threadpool

from bookworks.errors import TransientError
from bookworks.settings import Settings
from serving import metrics
from serving.problems import Problem

if TYPE_CHECKING:
    from serving.platform import Platform

Kind = Literal["reader", "key", "address"]
EVENTS = "events"  # a class of its own: of a batch of interactions each counts
PART = "rate_limits"  # in the metric of parts that were away


def limit_of(settings: Settings, routes: str, kind: Kind) -> int:
    """Calls a minute that such a caller has in a class of routes; 0: as many as it likes."""
    if routes == EVENTS:
        return settings.reader_events_per_minute if kind == "reader" else 0
    limits = {
        "reader": settings.reader_calls_per_minute,
        "key": settings.key_calls_per_minute,
        "address": settings.address_calls_per_minute,
    }
    return limits[kind]


async def take(platform: Platform, routes: str, kind: Kind, who: str, calls: int = 1) -> None:
    """Count calls, one or as many as a batch stands for.

    Args:
        platform: where Redis is.
        routes: class of the route that is asked for.
        kind, who: the caller.
        calls: how many.

    Raises:
        Problem: 429, the caller has had its calls of this minute; Retry-After says when the next one is free.
    """
    limit = limit_of(platform.settings, routes, kind)
    if not limit:
        return
    try:
        counted, left_s = await run_in_threadpool(
            lambda: platform.history.count_calls(f"{routes}:{kind}:{who}", limit, calls)
        )
    except TransientError:
        metrics.FALLBACKS.labels(PART).inc()
        return
    if counted > limit:
        metrics.CALLS_REFUSED.labels(routes, kind).inc()
        raise Problem(
            429,
            f"Too many calls of this {kind} ({routes})",
            allowed=f"{limit} a minute",
            todo=f"wait {left_s} s.",
            headers={"Retry-After": str(left_s)},
        )


async def count_address(request: Request, routes: str) -> None:
    """Count a call of somebody who does not say who it is.

    Raises:
        Problem: 429, as `take`.
    """
    await take(request.app.state.platform, routes, "address", request.client.host if request.client else "")


def by_address(routes: str) -> Dependency:
    """A dependency that counts the calls of an open route by the address from which they come."""

    async def count(request: Request) -> None:
        await count_address(request, routes)

    counted: Callable[[Request], Awaitable[None]] = count
    made: Dependency = Depends(counted)
    return made
