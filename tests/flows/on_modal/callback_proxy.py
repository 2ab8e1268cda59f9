"""What lies between a run and the service: passes callbacks on, holds them, loses them, and knows what was answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.modal_local.server import HttpServer, listen

PATIENCE_SECONDS = 30.0
OUTPUT = "output"  # the kind of the request for places to upload to; others are types of callbacks


@dataclass(frozen=True)
class Passed:
    """A request of a run's: its kind, what it told, and what it was answered."""

    kind: str
    told: dict[str, Any]
    status: int


class Road:
    """Kinds in `lost` are answered 503 and never reach the service; those that are held wait for their release."""

    def __init__(self, to: str) -> None:
        self.passed: list[Passed] = []
        self.lost: set[str] = set()
        self._holds: dict[str, asyncio.Event] = {}
        self._to = to
        self._came: list[str] = []
        self._sent_on: list[str] = []
        self._changed = asyncio.Condition()
        self._http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.app = Starlette(routes=[Route("/{path:path}", self._pass, methods=["POST"])])

    def hold(self, kind: str) -> asyncio.Event:
        """Hold the next request of this kind until the event is set; those after it pass."""
        self._holds[kind] = asyncio.Event()
        return self._holds[kind]

    async def came(self, kind: str, count: int = 1) -> None:
        """Wait until so many of this kind have come, whatever became of them."""
        await self._until(lambda: self._came.count(kind) >= count)

    async def sent(self, kind: str) -> None:
        """Wait until one of this kind was sent on to the service."""
        await self._until(lambda: kind in self._sent_on)

    async def answered(self, status: int, count: int = 1) -> None:
        """Wait until the service has given this answer so often."""
        await self._until(lambda: sum(each.status == status for each in self.passed) >= count)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def _pass(self, request: Request) -> Response:
        body = await request.body()
        told = json.loads(body)
        kind = OUTPUT if request.url.path.endswith("/output") else told["type"]
        async with self._changed:
            self._came.append(kind)
            self._changed.notify_all()
        if (held := self._holds.pop(kind, None)) is not None:
            await held.wait()
        status, content = await self._sent(request, body, kind)
        async with self._changed:
            self.passed.append(Passed(kind, told, status))
            self._changed.notify_all()
        return Response(content, status, media_type="application/json")

    async def _sent(self, request: Request, body: bytes, kind: str) -> tuple[int, bytes]:
        if kind in self.lost:
            return 503, b"{}"
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.startswith("webhook-") or name == "content-type"
        }

        async def content() -> AsyncIterator[bytes]:
            yield body
            async with self._changed:
                self._sent_on.append(kind)
                self._changed.notify_all()

        headers["content-length"] = str(len(body))
        try:
            answer = await self._http.post(self._to + request.url.path, content=content(), headers=headers)
        except httpx.HTTPError:
            return 503, b"{}"
        return answer.status_code, answer.content


@asynccontextmanager
async def road_to(origin: str) -> AsyncIterator[tuple[Road, str]]:
    """The road, and its address."""
    road, bound = Road(origin), listen(0)
    server = HttpServer(
        uvicorn.Config(road.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve([bound]))
    try:
        yield road, f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        await road._http.aclose()
