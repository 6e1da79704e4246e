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
PART = "rate_limits"  # in the metric of parts that were away


def limit_of(settings: Settings, kind: Kind) -> int:
    """Calls a minute that such a caller has in each class of routes; 0: as many as it likes."""
    limits = {
        "reader": settings.reader_calls_per_minute,
        "key": settings.key_calls_per_minute,
        "address": settings.address_calls_per_minute,
    }
    return limits[kind]


async def take(platform: Platform, routes: str, kind: Kind, who: str) -> None:
    """Count a call.

    Args:
        platform: where Redis is.
        routes: class of the route that is asked for.
        kind, who: the caller.

    Raises:
        Problem: 429, the caller has had its calls of this minute; Retry-After says when the next one is free.
    """
    limit = limit_of(platform.settings, kind)
    if not limit:
        return
    try:
        calls, left_s = await run_in_threadpool(lambda: platform.history.count_call(f"{routes}:{kind}:{who}"))
    except TransientError:
        metrics.FALLBACKS.labels(PART).inc()
        return
    if calls > limit:
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
