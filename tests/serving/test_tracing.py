"""Traces: over the steps of a request, through to the headers of what goes to Kafka, and to a collector."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import opentelemetry.trace
import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving import decisions, tracing
from serving.app import make_app
from tests.serving.fakes import settings
from tests.serving.process import eventually, running
from tests.serving.test_parts import Producer
from tests.serving.test_process import ALONE, free_port

CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
TRACE = 0x0AF7651916CD43DD8448EB211C80319C


@pytest.fixture
def spans(monkeypatch):
    found, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    return found


def test_a_trace_goes_from_the_caller_over_the_steps_into_kafka(spans, platform, key, monkeypatch):
    producer = Kept()
    monkeypatch.setattr(decisions.kafka, "producer", lambda *_, **__: producer)
    platform.settings = settings(otlp_url="http://127.0.0.1:9/v1/traces")
    platform.stream = decisions.Acknowledged(platform.settings)
    platform.decisions = decisions.Background(platform.settings)
    platform.decisions.start()
    client = TestClient(make_app(platform))
    event = {"user_id": "r001", "kind": "click", "work_id": "w001"}
    client.post("/v1/interactions", json={"events": [event]}, headers=key | CALLER).raise_for_status()
    client.post("/v1/recommend", json={"user_id": "r001"}, headers=key | CALLER).raise_for_status()
    platform.decisions.close()
    seen = spans.get_finished_spans()
    assert {"history", "candidates", "score", "rank", "rules", "slate"} <= {span.name for span in seen}
    assert {span.context.trace_id for span in seen} == {TRACE}
    ids = {f"{span.context.span_id:016x}" for span in seen}
    for headers in producer.headers:
        ((name, value),) = headers
        version, trace_id, span_id, _ = value.decode().split("-")
        assert (name, version, int(trace_id, 16)) == ("traceparent", "00", TRACE)
        assert span_id in ids
    assert len(producer.headers) == 2
    client.get("/healthz")
    assert len(spans.get_finished_spans()) == len(seen)


class Kept(Producer):
    """A producer that keeps the headers of its records."""

    def __init__(self):
        super().__init__()
        self.headers = []

    def send(self, *_, headers, **__):
        self.headers.append(headers)
        return super().send()


def test_without_a_collector_nothing_is_recorded():
    assert tracing.headers() == []
    with tracing.span("step") as span:
        assert not span.is_recording()


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_spans_reach_a_collector(tmp_path):
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = str(free_port())
    try:
        more = {
            "BOOKWORKS_SERVICE_PORT": port,
            "BOOKWORKS_BUNDLE_CACHE_DIR": str(tmp_path / "bundles"),
            "BOOKWORKS_OTLP_URL": f"http://127.0.0.1:{server.server_port}/v1/traces",
        }
        with running(settings(), tmp_path / "service.log", **ALONE | {"TMPDIR": str(tmp_path)} | more) as client:
            assert client.get("/v1/books/w001").status_code == 503
        path, request = eventually(lambda: received)[0]
    finally:
        server.shutdown()
        server.server_close()
    (resource,) = request.resource_spans
    assert path == "/v1/traces"
    assert {value.value.string_value for value in resource.resource.attributes} >= {"bookworks"}
    assert any("/v1/books" in span.name for scope in resource.scope_spans for span in scope.spans)
