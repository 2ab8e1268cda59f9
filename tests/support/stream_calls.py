"""URLs of streams, and what tests read from WebSockets."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fakes import FakeRun
from tests.support.stream_server import StreamServer

Job = dict[str, Any]


def events_path(run: FakeRun) -> str:
    return f"/api/exports/{run.spec.job_id}/events"


def socket_url(server: StreamServer, run: FakeRun) -> str:
    return f"ws://{server.address}/ws/export/{run.spec.job_id}"


async def receive_job(socket: ClientConnection) -> Job:
    async with asyncio.timeout(10):
        job: Job = json.loads(await socket.recv())
    return job


async def wait_close_code(socket: ClientConnection) -> int:
    """Skip messages until the server closes the socket, and return its code."""
    async with asyncio.timeout(10):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006
