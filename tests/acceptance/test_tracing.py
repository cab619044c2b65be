"""Traces of the real server, as a collector on loopback gets them."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.databases import TestServer
from tests.support.service import running_service, script

RULES: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
    },
    {"when": {"last_user_contains": "compute"}, "answer": {"text": "It is forty-two."}},
    {
        "when": {"last_user_contains": "break"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused."}},
    },
]


class Collector(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        found: list[Span] = []
        for body in self.received:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        self.server.received.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


async def test_a_turn_is_a_trace_with_the_names_of_genai(server: TestServer, tmp_path: Path) -> None:
    """Request, run, model calls and tool call, each within the one before; what was said is in none."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collecting() as collector, server.database() as dsn:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        settings = {"model": script(tmp_path, RULES), "otel_endpoint": endpoint}
        with running_service(tmp_path, dsn, **settings) as service:
            async with service.client() as client:
                body = {"message": "please compute the secret", "conversation_id": "traced"}
                answer = await client.post("/portal/chat", json=body, headers={"traceparent": parent})
                assert answer.json()["message"] == "It is forty-two."
                await client.post("/portal/chat", json={"message": "please break"})
        received = b"".join(collector.received)
        spans = [span for span in collector.spans if span.trace_id.hex() == parent.split("-")[1]]
        failed = [span for span in collector.spans if span not in spans]
    by_name: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: one.start_time_unix_nano):
        by_name.setdefault(span.name, []).append(span)
    assert {name: len(found) for name, found in by_name.items()} == {
        "POST /api/v1/portal/chat": 1,
        "invoke_agent assistant": 1,
        "chat script": 2,
        "execute_tool calculator": 1,
    }
    (request,), (run,) = by_name["POST /api/v1/portal/chat"], by_name["invoke_agent assistant"]
    assert request.parent_span_id.hex() == parent.split("-")[2]
    assert run.parent_span_id == request.span_id
    assert {one.parent_span_id for one in (*by_name["chat script"], *by_name["execute_tool calculator"])} == {
        run.span_id
    }
    assert attributes(request)["http.response.status_code"] == 200
    told = attributes(run)
    assert (told["gen_ai.operation.name"], told["gen_ai.agent.name"]) == ("invoke_agent", "assistant")
    assert told["gen_ai.conversation.id"] == "traced"
    assert told["minutebook.outcome"] == "completed"
    model = attributes(by_name["chat script"][0])
    assert model["gen_ai.operation.name"] == "chat"
    assert (model["gen_ai.provider.name"], model["gen_ai.request.model"]) == ("scripted", "script")
    assert model["gen_ai.usage.input_tokens"] > 0
    tool = attributes(by_name["execute_tool calculator"][0])
    assert (tool["gen_ai.operation.name"], tool["gen_ai.tool.name"]) == ("execute_tool", "calculator")
    assert any(attributes(one).get("error.type") == "bad_request" for one in failed)
    for said in (b"the secret", b"forty-two", b"6*7"):
        assert said not in received


async def test_a_collector_that_is_away_costs_nothing_but_spans(server: TestServer, tmp_path: Path) -> None:
    settings = {"model": script(tmp_path, RULES), "otel_endpoint": "http://127.0.0.1:9"}
    with server.database() as dsn, running_service(tmp_path, dsn, **settings) as service:
        async with service.client() as client:
            answer = await client.post("/portal/chat", json={"message": "please compute it"})
            assert answer.json()["status"] == "completed"
        assert service.stop() == 0


def test_nothing_of_opentelemetrys_sdk_is_loaded_while_it_is_off() -> None:
    """Guard: an import at the top of a module would cost every start."""
    import subprocess
    import sys

    code = (
        "import sys, app.server, app.telemetry.tracing; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
