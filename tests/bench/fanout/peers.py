"""The servers that are compared, with one interface: URLs of streams, and how a message is published."""

import http.client
import json
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.fanout.readers import event_stream_request, socket_request
from tests.bench.ingest.rows import postgresql_rows, sqlite_rows
from tests.bench.ingest.throughput import attempt_key, build_request
from tests.bench.measure.servers import SECRET, Server, run_server, serve, serve_framehook, start_postgresql
from tests.support.live_server import free_port

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_NCHAN = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; load_module {module};
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location /publish {{ nchan_publisher; nchan_channel_id export; nchan_message_buffer_length 1; }}
    location /events {{ nchan_subscriber eventsource; nchan_channel_id export;
      nchan_subscriber_first_message oldest; }}
    location /socket {{ nchan_subscriber websocket; nchan_channel_id export;
      nchan_subscriber_first_message oldest; }}
  }}
}}
"""
_LIMITS = {
    "MAX_STREAMS": "20000",
    "MAX_STREAMS_PER_USER": "20000",
    "MAX_CONNECTIONS": "19000",
    "MAX_CONNECTIONS_PER_ADDRESS": "19000",
}
_LIKE_A_STATE = {
    "job_id": "0193a1b2-7d3e-7c11-9a55-0f3c2d1e4b5a",
    "export_id": None,
    "type": "framing",
    "status": "processing",
    "phase": "processing",
    "progress": 41.5,
    "error": None,
    "project_id": None,
    "attempt": 1,
    "sequence": 1042,
    "input_key": "a.mp4",
    "output_key": "exports/0193a1b2-7d3e-7c11-9a55-0f3c2d1e4b5a.mp4",
    "output": None,
    "created_at": "2026-11-30T06:00:00.000Z",
    "started_at": "2026-11-30T06:00:01.000Z",
    "completed_at": None,
    "acknowledged_at": None,
    "eta_seconds": 12.5,
    "gpu_seconds": 0.0,
    "runner": "bench",
    "call_id": "bench-0193a1b2-7d3e-7c11-9a55-0f3c2d1e4b5a",
}


@dataclass(frozen=True)
class Peer:
    """A running server with one export; `publish` sends a state with this text in it to its readers."""

    server: Server
    events: bytes
    socket: bytes
    publish: Callable[[str], None]


@contextmanager
def run_framehook(count: int) -> Iterator[list[Peer]]:
    """Run Framehook with so many exports; states come as the signed callbacks of a run."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        server = stack.enter_context(serve_framehook(folder, _LIMITS, secret=SECRET))
        job_ids = [str(uuid.uuid4()) for _ in range(count)]
        sqlite_rows(folder / "framehook.db")(job_ids)
        yield [
            _export_peer(server, job_id, stack.enter_context(_open_publisher(server.port)))
            for job_id in job_ids
        ]


@contextmanager
def run_replicas(count: int) -> Iterator[list[list[Peer]]]:
    """Run two replicas on one PostgreSQL; yield the exports as each offers them, with callbacks to it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        url = stack.enter_context(start_postgresql())
        servers = [
            stack.enter_context(
                serve_framehook(folder / name, _LIMITS | {"DATABASE_URL": url}, secret=SECRET)
            )
            for name in ("first", "second")
        ]
        job_ids = [str(uuid.uuid4()) for _ in range(count)]
        postgresql_rows(url)(job_ids)
        yield [
            [
                _export_peer(server, job_id, stack.enter_context(_open_publisher(server.port)))
                for job_id in job_ids
            ]
            for server in servers
        ]


def _export_peer(server: Server, job_id: str, publish: Callable[[bytes], None]) -> Peer:
    key, steps = attempt_key(job_id), iter(range(1, 1_000_000))
    return Peer(
        server,
        event_stream_request(f"/api/exports/{job_id}/events"),
        socket_request(f"/ws/export/{job_id}"),
        lambda text: publish(build_request(job_id, key, next(steps), text)),
    )


@contextmanager
def framehook() -> Iterator[Peer]:
    """Run Framehook with one export."""
    with run_framehook(1) as (peer,):
        yield peer


@contextmanager
def nchan() -> Iterator[Peer]:
    """Run nginx with nchan, in one process."""
    with tempfile.TemporaryDirectory(prefix="framehook-nchan-") as folder:
        port, path = free_port(), Path(folder) / "nginx.conf"
        path.write_text(_NCHAN.format(folder=folder, module=NCHAN_MODULE, port=port))
        command = [str(shutil.which("nginx")), "-c", str(path), "-p", folder]
        with run_server(command, port, {}) as server, _open_publisher(port) as publish:
            yield _plain_peer(server, publish)


@contextmanager
def usual_code() -> Iterator[Peer]:
    """Run the usual code: sse-starlette and Starlette's WebSocket, with a queue for each client."""
    with (
        serve("tests.bench.fanout.usual_app:create_app") as server,
        _open_publisher(server.port) as publish,
    ):
        yield _plain_peer(server, publish)


PEERS: dict[str, Callable[[], AbstractContextManager[Peer]]] = {
    "Framehook": framehook,
    "nginx + nchan": nchan,
    "usual code: a queue for each client": usual_code,
}


def _plain_peer(server: Server, publish: Callable[[bytes], None]) -> Peer:
    def publish_state(text: str) -> None:
        body = json.dumps(_LIKE_A_STATE | {"message": text}, separators=(",", ":")).encode()
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        publish(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)

    return Peer(server, event_stream_request("/events"), socket_request("/socket"), publish_state)


@contextmanager
def _open_publisher(port: int) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that sends a whole request on a kept connection, and waits for its response."""
    kept: list[socket.socket] = []

    def send(request: bytes) -> int:
        if not kept:
            kept.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        kept[0].sendall(request)
        response = http.client.HTTPResponse(kept[0], method="POST")
        response.begin()
        response.read()
        return response.status

    def publish(request: bytes) -> None:
        try:
            status = send(request)
        except (http.client.RemoteDisconnected, ConnectionError):  # the server closes idle connections
            kept.pop().close()
            status = send(request)
        if status not in (200, 201, 202):
            raise RuntimeError(f"publishing was answered with {status}")

    try:
        yield publish
    finally:
        for connection in kept:
            connection.close()
