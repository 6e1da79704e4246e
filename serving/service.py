"""The BentoML service: loads in `__init__`, mounts the app. Started by `python -m serving.run`.

BentoML imports this module in its supervisor and in each worker; only a worker makes an instance, so
what is heavy is imported there.
"""

from __future__ import annotations

import logging
from typing import Any

import bentoml

from bookworks.settings import get_settings
from serving import tracing
from serving.in_hand import InHand
from serving.middleware import BoundedMetrics, ProbesFirst, entrance

REQUEST_TIMEOUT_S = 30
FIRST_BUNDLE_S = 60
_QUIET = ("kafka", "httpx", "httpcore", "psycopg", "psycopg.pool", "botocore")


class Entry:
    """The ASGI app of this worker, once the service has made it."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on."""
        await self.app(scope, receive, send)


entry = Entry()


@bentoml.asgi_app(entry, path="/")
@bentoml.service(
    name="bookworks",
    workers=get_settings().service_workers,
    traffic={"timeout": REQUEST_TIMEOUT_S},
    metrics={"enabled": False},  # BoundedMetrics instead
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},  # serving.tracing instead
)
class BookworksService:
    """Recommended books for readers."""

    def __init__(self) -> None:
        from serving import audit
        from serving.app import make_app
        from serving.platform import Platform

        settings = get_settings()
        self.in_hand = InHand.here(bentoml.server_context.worker_index or 0)
        logging.getLogger("bookworks").setLevel(settings.log_level)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if settings.otlp_url:
            tracing.start(settings)
        audit.to_stdout()
        self.platform = Platform(settings)
        self.platform.start()
        if settings.service_workers > 1:  # no connection is accepted before: a caller would meet who is still loading
            self.platform.bundles.wait_for_first(FIRST_BUNDLE_S)
        if self.in_hand is not None:
            self.in_hand.open()
        entry.app = entrance(make_app(self.platform), settings.service_requests_per_connection, self.in_hand)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Send what waits, end the connections."""
        if self.in_hand is not None:
            self.in_hand.close()
        self.platform.close()
        tracing.stop()


BookworksService.add_asgi_middleware(BoundedMetrics)
BookworksService.add_asgi_middleware(ProbesFirst, probes=entry)
