"""The usual code: a queue for each client, and JSON written for each of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

State = dict[str, Any]


class OneExport:
    """The state of one export, and a queue for each of its clients."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[State]] = set()
        self._latest: State = {}

    async def publish(self, request: Request) -> Response:
        """Queue a state for each client."""
        self._latest = await request.json()
        for queue in self._queues:
            queue.put_nowait(self._latest)
        return JSONResponse({})

    async def send_events(self, _request: Request) -> Response:
        """Send states as events."""

        async def write() -> AsyncIterator[dict[str, str]]:
            async for state in self._read_states():
                yield {"event": "export.progress", "data": json.dumps(state)}

        return EventSourceResponse(write())

    async def send_messages(self, websocket: WebSocket) -> None:
        """Send states as messages."""

        async def write() -> None:
            async for state in self._read_states():
                await websocket.send_text(json.dumps(state))

        await websocket.accept()
        writing = asyncio.create_task(write())
        try:
            async for _ in websocket.iter_text():
                pass
        finally:
            writing.cancel()

    async def _read_states(self) -> AsyncIterator[State]:
        queue: asyncio.Queue[State] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield self._latest
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)


def create_app() -> Starlette:
    """Create the application."""
    export = OneExport()
    return Starlette(
        routes=[
            Route("/publish", export.publish, methods=["POST"]),
            Route("/events", export.send_events),
            WebSocketRoute("/socket", export.send_messages),
        ]
    )
