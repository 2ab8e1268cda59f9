"""A proxy between runs and the service that forwards, holds and drops callbacks, and records the responses."""

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

TIMEOUT_SECONDS = 30.0
OUTPUT = "output"  # the kind of a request for upload targets; the other kinds are callback types


@dataclass(frozen=True)
class ForwardedCallback:
    """A request of a run: its kind, its body, and the status of the response."""

    kind: str
    body: dict[str, Any]
    status: int


class CallbackProxy:
    """Forwards requests; kinds in `dropped` are answered 503 without the service, held ones wait."""

    def __init__(self, to: str) -> None:
        self.forwarded: list[ForwardedCallback] = []
        self.dropped: set[str] = set()
        self._holds: dict[str, asyncio.Event] = {}
        self._to = to
        self._arrived: list[str] = []
        self._forwarded_kinds: list[str] = []
        self._changed = asyncio.Condition()
        self._http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.app = Starlette(routes=[Route("/{path:path}", self._pass, methods=["POST"])])

    def hold(self, kind: str) -> asyncio.Event:
        """Hold the next request of this kind until the event is set; later ones are forwarded."""
        self._holds[kind] = asyncio.Event()
        return self._holds[kind]

    async def wait_arrived(self, kind: str, count: int = 1) -> None:
        """Wait until so many requests of this kind have arrived."""
        await self._until(lambda: self._arrived.count(kind) >= count)

    async def wait_forwarded(self, kind: str) -> None:
        """Wait until a request of this kind was forwarded to the service."""
        await self._until(lambda: kind in self._forwarded_kinds)

    async def wait_answered(self, status: int, count: int = 1) -> None:
        """Wait until the service has responded with this status so often."""
        await self._until(lambda: sum(each.status == status for each in self.forwarded) >= count)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def _pass(self, request: Request) -> Response:
        content = await request.body()
        body = json.loads(content)
        kind = OUTPUT if request.url.path.endswith("/output") else body["type"]
        async with self._changed:
            self._arrived.append(kind)
            self._changed.notify_all()
        if (held := self._holds.pop(kind, None)) is not None:
            await held.wait()
        status, answer = await self._forward(request, content, kind)
        async with self._changed:
            self.forwarded.append(ForwardedCallback(kind, body, status))
            self._changed.notify_all()
        return Response(answer, status, media_type="application/json")

    async def _forward(self, request: Request, body: bytes, kind: str) -> tuple[int, bytes]:
        if kind in self.dropped:
            return 503, b"{}"
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.startswith("webhook-") or name == "content-type"
        }

        async def content() -> AsyncIterator[bytes]:
            yield body
            async with self._changed:
                self._forwarded_kinds.append(kind)
                self._changed.notify_all()

        headers["content-length"] = str(len(body))
        try:
            answer = await self._http.post(self._to + request.url.path, content=content(), headers=headers)
        except httpx.HTTPError:
            return 503, b"{}"
        return answer.status_code, answer.content


@asynccontextmanager
async def open_proxy(origin: str) -> AsyncIterator[tuple[CallbackProxy, str]]:
    """Run a proxy to `origin`; yield it and its address."""
    proxy, bound = CallbackProxy(origin), listen(0)
    server = HttpServer(
        uvicorn.Config(proxy.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve([bound]))
    try:
        yield proxy, f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        await proxy._http.aclose()
