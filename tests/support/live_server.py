"""The service on a real socket, and a server with scripted responses."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext

import httpx
import msgspec

from framehook import Client, Export
from framehook.transports.blocking import BlockingTransport
from gpu.spec import LocalFile
from service.app import create_app
from service.clock import Clock
from service.http_server.server import create_server
from service.settings import Settings, load_settings
from tests.support.fakes import FakeRun, FakeRunner, ThreadProber

STREAM = {"Content-Type": "text/event-stream"}
PROBLEM = {"Content-Type": "application/problem+json"}
MASTER = "a master secret of the callbacks that is long enough"
READY_SECONDS = 60.0
FRAMING = {"keyframes": [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]}


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no program listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def settings_on(port: int, data_dir: Path, **changes: object) -> Settings:
    return load_settings(
        data_dir=data_dir, host="127.0.0.1", port=port, callback_secret=MASTER, _env_file="", **changes
    )


class DurableRunner(FakeRunner):
    """A runner whose calls outlive the service, as on Modal."""

    def __init__(self) -> None:
        super().__init__(instance="")

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return f"call-{job_id}-{attempt}"


@dataclass
class LiveServer:
    """A running service: its URL, its runner and a client."""

    url: str
    runner: FakeRunner
    http: httpx.AsyncClient

    async def next_run(self) -> FakeRun:
        return FakeRun(await self.runner.next_spec(), self.http)

    def write_output(self, run: FakeRun, content: bytes) -> None:
        target = run.spec.transfer.output
        assert isinstance(target, LocalFile)
        Path(target.path).parent.mkdir(parents=True, exist_ok=True)
        Path(target.path).write_bytes(content)


@asynccontextmanager
async def serve_app(
    settings: Settings, runner: FakeRunner, clock: Clock | None = None
) -> AsyncIterator[LiveServer]:
    """Run the service on a socket, as `framehook serve` does."""
    listening = socket.create_server((settings.host, settings.port))
    app = create_app(settings, runner, clock, ThreadProber(), source_prober=ThreadProber())
    service = create_server(app, settings.host, settings.port)
    running = asyncio.create_task(service.serve(sockets=[listening]))
    try:
        async with httpx.AsyncClient(base_url=settings.origin, timeout=20, trust_env=False) as http:
            await _wait_until_ready(http)
            yield LiveServer(settings.origin, runner, http)
    finally:
        service.should_exit = True
        await running


async def _wait_until_ready(http: httpx.AsyncClient) -> None:
    """Poll until the service is ready.

    On a busy machine the first check of its database may time out.
    """
    async with asyncio.timeout(READY_SECONDS):
        while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class ScriptedResponse:
    """One scripted response; without a status the connection is closed instead."""

    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class RecordedRequest:
    """A request that the server received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Script:
    """The responses to send, in order (the last one repeats), and the requests received."""

    url: str
    responses: list[ScriptedResponse] = field(default_factory=list)
    requests: list[RecordedRequest] = field(default_factory=list)

    def respond(self, request: RecordedRequest) -> ScriptedResponse:
        self.requests.append(request)
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]


@contextmanager
def serve_script(*answers: ScriptedResponse, tls: SSLContext | None = None) -> Iterator[Script]:
    """Run a server on loopback that sends these responses, with `tls` over https."""

    class Route(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            response = script.respond(RecordedRequest(self.command, self.path, headers, body))
            if response.status is None:
                return
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the base's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

    listening = Quiet(("127.0.0.1", 0), Route)
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    script = Script(f"{'https' if tls else 'http'}://127.0.0.1:{listening.server_port}", list(answers))
    thread = threading.Thread(target=listening.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def export_state(sequence: int, status: str = "processing", **changes: object) -> Export:
    """Return a job as the client parses it from the service."""
    usual: dict[str, object] = {
        "job_id": "job-1",
        "type": "framing",
        "phase": "processing",
        "progress": 10.0 * sequence,
        "message": "Encoding",
        "attempt": 1,
        "input_key": "uploads/match.mp4",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Export(sequence=sequence, status=status, **(usual | changes))  # type: ignore[arg-type]


def sse_response(*exports: Export, retry: int | None = None) -> ScriptedResponse:
    """Return a stream that carries these states and ends."""
    head = f"retry: {retry}\n\n".encode() if retry is not None else b""
    frames = [
        b"id: %d\nevent: export.progress\ndata: %s\n\n" % (export.sequence, msgspec.json.encode(export))
        for export in exports
    ]
    return ScriptedResponse(headers=STREAM, body=head + b"".join(frames))


def fast_client(script: Script, slept: list[float] | None = None) -> Client:
    """Return a client that waits for nothing, and notes how long it would have waited."""
    sleep = (slept if slept is not None else []).append
    return Client(script.url, transport=BlockingTransport(sleep=sleep, jitter=lambda: 1.0))
