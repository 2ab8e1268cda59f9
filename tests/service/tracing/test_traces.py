"""One trace leads from a request through the run of its export to the webhooks, and reaches a collector."""

import hashlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Message, Receive, Scope, Send

from service.settings import load_settings
from service.startup.errors import StartError
from service.tracing.requests import TracedRequests
from service.tracing.switch import create_tracing
from service.tracing.tracer import Tracing
from tests.service.webhooks.api_calls import wait_all_ended
from tests.support.live_server import (
    DurableRunner,
    LiveServer,
    Script,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)
from tests.support.small_mp4 import make_video

TRACE_ID, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER}-01"
REQUEST_ID = "the-request-of-a-page"
MAX_QUEUE, MAX_BATCH = 2_048, 512
"""How many spans wait at most, and how many are sent at a time."""
STEPS = {"spawn", "publish", "commit"}
PHASES = {"queued", "starting", "cold_start", "processing", "finalizing"}
OFF = """
import sys
from service.app import create_app
from service.settings import load_settings
create_app(load_settings(_env_file=""))
print(sorted(name for name in sys.modules if name.startswith("opentelemetry") or name == "service.tracing.tracer"))
"""


async def create_export(server: LiveServer, webhook_url: str) -> dict[str, Any]:
    """Create an export with a trace, a request id and a webhook; return its endpoint."""
    upload = {"filename": "match.mp4", "size": 12, "content_type": "video/mp4"}
    target = (await server.http.post("/api/uploads", json=upload)).json()
    content = b"\0\0\0\x0cftypmp42"
    (await server.http.put(target["url"], content=content, headers=target["headers"])).raise_for_status()
    clips = [{"start_time": 0, "end_time": 1, "name": "A"}]
    body = {"type": "annotate", "config": {"input_key": target["key"], "clips": clips}}
    headers = {"traceparent": TRACEPARENT, "x-request-id": REQUEST_ID}
    created = await server.http.post(
        "/api/exports", json=body | {"webhook_url": webhook_url}, headers=headers
    )
    endpoint: dict[str, Any] = created.raise_for_status().json()["webhook"]
    return endpoint


async def test_the_spans_of_an_export_reach_a_collector(data_dir: Path) -> None:
    with serve_script(ScriptedResponse(200)) as collector, serve_script(ScriptedResponse(204)) as consumer:
        settings = settings_on(
            free_port(),
            data_dir,
            tracing_endpoint=collector.url,
            webhook_allow_http=True,
            webhook_allowed_networks="127.0.0.0/8",
        )
        async with serve_app(settings, DurableRunner()) as server:
            endpoint = await create_export(server, consumer.url)
            run = await server.next_run()
            await run.report_started()
            await run.report_progress(50)
            content = make_video(b"traced")
            server.write_output(run, content)
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            completed = await run.report_completed(size=len(content), checksum=checksum)
            assert completed.status_code == 200
            await wait_all_ended(server.http, endpoint, 2)
    spans = [span for span in read_spans(collector) if span.trace_id.hex() == TRACE_ID]
    by_name = {span.name: span for span in spans}
    request, export = by_name["POST /api/exports"], by_name["export"]
    assert Counter(span.name for span in spans) == Counter(
        {"deliver": 2} | dict.fromkeys({"POST /api/exports", "export", *STEPS, *PHASES}, 1)
    )
    assert request.parent_span_id.hex() == CALLER
    for name in ("export", "deliver", *STEPS):
        assert by_name[name].parent_span_id == request.span_id
    for phase in PHASES:
        assert by_name[phase].parent_span_id == export.span_id
        assert by_name[phase].start_time_unix_nano <= by_name[phase].end_time_unix_nano
    assert run.spec.request_id == REQUEST_ID
    assert run.spec.traceparent == f"00-{TRACE_ID}-{request.span_id.hex()}-01"
    delivered = {f"00-{TRACE_ID}-{span.span_id.hex()}-01" for span in spans if span.name == "deliver"}
    assert {received.headers["traceparent"] for received in consumer.requests} == delivered
    assert {received.headers["x-request-id"] for received in consumer.requests} == {REQUEST_ID}


def read_spans(collector: Script) -> list[Any]:
    """Return all spans that a collector has received."""
    assert {request.path for request in collector.requests} == {"/v1/traces"}
    return [
        span
        for request in collector.requests
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def request_through(
    app_status: int | Exception, path: str, traceparent: str
) -> tuple[InMemorySpanExporter, list[str]]:
    """Send a request through the middleware; return the spans, and the headers that the application got."""
    exporter = InMemorySpanExporter()
    seen: list[str] = []
    tracing = Tracing(exporter)

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"])[b"traceparent"].decode())
        if isinstance(app_status, Exception):
            raise app_status
        await send({"type": "http.response.start", "status": app_status, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"traceparent", traceparent.encode())],
    }
    with suppress(RuntimeError):
        await TracedRequests(app, tracing)(scope, receive, send)
    tracing.close()
    return exporter, seen


@pytest.mark.parametrize("outcome", [503, RuntimeError("broken")], ids=["a status", "an error"])
async def test_a_request_that_fails_is_a_failed_span(outcome: int | Exception) -> None:
    exporter, _ = await request_through(outcome, "/api/exports", TRACEPARENT)
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok


async def test_a_caller_that_samples_nothing_gets_no_spans_and_its_decision_is_passed_on() -> None:
    exporter, seen = await request_through(200, "/api/exports", f"00-{TRACE_ID}-{CALLER}-00")
    assert exporter.get_finished_spans() == ()
    assert seen[0].startswith(f"00-{TRACE_ID}-")
    assert seen[0].endswith("-00")


@pytest.mark.parametrize("path", ["/api/callbacks/1", "/healthz"])
async def test_reports_and_probes_are_no_spans(path: str) -> None:
    exporter, seen = await request_through(200, path, TRACEPARENT)
    assert (exporter.get_finished_spans(), seen) == ((), [TRACEPARENT])


class HangingExporter(SpanExporter):
    """An exporter to a collector that takes connections and does not answer before it is allowed to."""

    def __init__(self) -> None:
        self.is_called, self.may_answer = threading.Event(), threading.Event()
        self.exported, self.is_shut_down = 0, False

    def shutdown(self) -> None:
        self.is_shut_down = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_called.set()
        self.may_answer.wait()
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


def test_a_collector_that_hangs_holds_up_nobody_and_keeps_few_spans(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exporter = HangingExporter()
    tracing = Tracing(exporter)
    for _ in range(MAX_BATCH):
        tracing.start("GET", None, {}).end()
    exporter.is_called.wait()
    for _ in range(10 * MAX_QUEUE):  # would not come to an end if a span waited for the collector
        tracing.start("GET", None, {}).end()
    assert exporter.exported == 0
    exporter.may_answer.set()
    tracing.close()
    assert MAX_QUEUE <= exporter.exported <= MAX_QUEUE + MAX_BATCH
    assert len(caplog.records) < 10, "what is dropped is not logged span by span"


def test_the_end_does_not_wait_long_for_a_collector_that_hangs() -> None:
    exporter = HangingExporter()
    tracing = Tracing(exporter, close_seconds=0.01)
    tracing.start("GET", None, {}).end()
    tracing.close()
    assert not exporter.is_shut_down, "the end has waited until the library gave up"
    exporter.may_answer.set()


def test_without_a_collector_nothing_of_opentelemetry_is_loaded(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", OFF],
        capture_output=True,
        text=True,
        check=True,
        env={"DATA_DIR": str(tmp_path)},
    )
    assert result.stdout == "[]\n"


def test_a_collector_without_opentelemetry_keeps_the_service_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "service.tracing.tracer", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    settings = load_settings(tracing_endpoint="http://127.0.0.1:4318", _env_file="")
    with pytest.raises(StartError, match=r"install framehook\[tracing\]"):
        create_tracing(settings)
