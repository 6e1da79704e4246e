"""OpenTelemetry: one trace from a request over its steps to the records it leaves in Kafka.

Without `otlp_url` nothing is recorded: OpenTelemetry's own tracer then does nothing.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bookworks.settings import Settings

NAME = "bookworks"
PROBES = "healthz,readyz,livez,metrics"
Headers = list[tuple[str, bytes]]


def start(settings: Settings) -> None:
    """Send this process's spans to the collector of the settings, in the background."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": NAME}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_url)))
    trace.set_tracer_provider(provider)


def stop() -> None:
    """Send what waits."""
    provider = trace.get_tracer_provider()
    if hasattr(provider, "shutdown"):
        provider.shutdown()


def traced(app: Any) -> Any:
    """The app with a span around each request but those of probes; a caller's `traceparent` is gone on from."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(app, excluded_urls=PROBES, exclude_spans=["receive", "send"])


def span(name: str) -> Any:
    """A span of the running trace, as a context manager; nothing where none is recorded."""
    running = trace.get_current_span()
    if not running.is_recording():
        return nullcontext(running)
    return trace.get_tracer(NAME).start_as_current_span(name)


def headers() -> Headers:
    """The running trace as headers of a Kafka record (W3C Trace Context); none where nothing is recorded."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)  # not a caller's baggage, which may be long
    return [(name, value.encode()) for name, value in carrier.items()]
