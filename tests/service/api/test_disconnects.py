"""Clients that disconnect early disturb neither other clients nor a shutdown."""

import asyncio
import socket
import struct
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from service.api.streaming.websocket import export_socket
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.stream_server import StreamServer, open_server, wait_until

LEAVERS = 50
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, as a process does that is killed with bytes unread."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def server(request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack) -> StreamServer:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
        await delete_all_rows(url)
        settings = settings.model_copy(update={"database_url": url})
    return await stack.enter_async_context(open_server(settings))


async def leave_early(server: StreamServer, path: str, after_bytes: int, *, reset: bool) -> None:
    """Ask for a stream, read so much of the answer, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode())
    await writer.drain()
    if after_bytes:
        await reader.readexactly(after_bytes)
    if reset:
        held: socket.socket = writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "resetting"])
@pytest.mark.parametrize("after_bytes", [0, 1, 400], ids=["at once", "after a byte", "within the answer"])
async def test_clients_that_disconnect_early_do_not_disturb_others(
    server: StreamServer, after_bytes: int, reset: bool
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    for path in ("/api/exports/events", f"/api/exports/{run.spec.job_id}/events"):
        await asyncio.gather(
            *(leave_early(server, path, after_bytes, reset=reset) for _ in range(LEAVERS)),
        )
    for path in ("/api/exports", "/readyz", "/healthz"):
        answer = await server.client.get(path)
        assert answer.status_code == 200, answer.text
    await wait_until(lambda: server.stream_count == 0)
    await server.stop()


async def test_a_websocket_that_disconnects_before_its_refusal_is_no_error(server: StreamServer) -> None:
    sent = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message["type"])
        raise OSError  # as uvicorn does when the connection is lost

    scope: dict[str, Any] = {"type": "websocket", "path": "/", "query_string": b"", "headers": []}
    scope |= {"state": server.uvicorn.lifespan.state, "path_params": {"job_id": "unknown"}}
    scope["extensions"] = {"websocket.http.response": {}}
    await export_socket(WebSocket(scope, receive, send))
    assert sent == ["websocket.http.response.start"]
