"""The service on a socket, in this event loop, and readers of its streams."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.app import create_app
from service.clock import Clock
from service.http_server.limits import HttpLimits
from service.http_server.server import Server, create_server
from service.settings import Settings
from tests.support.app_harness import FRAMING, SOURCE
from tests.support.fakes import FakeRun, FakeRunner, ThreadProber

TIMEOUT_SECONDS = 10
STOP_SECONDS = 30
"""Far more than a service takes that waits for a database which does not answer."""


class Road(StrEnum):
    """How states get to the connections of a server."""

    DIRECT = "direct"
    """The hub writes them."""
    PLAIN = "plain"
    """The protocols are uvicorn's own, which offer no connections: the task of each stream sends them."""


@dataclass
class StreamServer:
    """A client of the running server."""

    client: httpx.AsyncClient
    runner: FakeRunner
    settings: Settings
    uvicorn: Server
    serving: "asyncio.Task[None]"

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return len(self.uvicorn.lifespan.state["hub"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings.port}"

    async def submit_export(
        self, *, user: str = "local", headers: dict[str, str] | None = None, **fields: object
    ) -> FakeRun:
        """Submit an export, with these fields in its body, and return its run."""
        await self.post_export(user=user, headers=headers, **fields)
        return await self.next_run()

    async def post_export(
        self, *, user: str = "local", headers: dict[str, str] | None = None, **fields: object
    ) -> None:
        """Submit an export."""
        path = self.settings.data_dir / "objects" / user / SOURCE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
        body = {"type": "framing", "config": {"input_key": SOURCE, **FRAMING}} | fields
        answer = await self.client.post("/api/exports", json=body, headers=headers)
        assert answer.status_code == 202, answer.text

    async def next_run(self) -> FakeRun:
        """Wait for the next attempt that the dispatcher starts, and return its run."""
        return FakeRun(await self.runner.next_spec(), self.client)

    async def get_export(self, run: FakeRun) -> dict[str, Any]:
        job: dict[str, Any] = (await self.client.get(f"/api/exports/{run.spec.job_id}")).json()
        return job

    async def wait_for_call_id(self, run: FakeRun) -> None:
        """Wait until the dispatcher has stored the call, after which only the run changes the job."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (await self.get_export(run))["call_id"] is None:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def events(self, path: str, *, method: str = "GET", **headers: str) -> AsyncIterator["Events"]:
        async with self.client.stream(method, path, headers=headers) as response:
            yield Events(response)

    async def stop(self) -> float:
        """Stop the server and return how many seconds that took."""
        clock = asyncio.get_running_loop().time
        began = clock()
        self.uvicorn.should_exit = True
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(self.serving)
        return clock() - began


@dataclass
class Event:
    """One event of a stream; `id` is empty if the event has none."""

    id: str
    type: str
    job: dict[str, Any]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of a snapshot."""
        assert self.type == "export.snapshot"
        jobs: list[dict[str, Any]] = self.job["exports"]
        return jobs


@dataclass
class Events:
    """The events of a stream, as they come."""

    response: httpx.Response
    retry: str | None = None
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    async def next(self) -> Event | None:
        """Wait for the next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(TIMEOUT_SECONDS):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif name == "retry":
                    self.retry = value
                elif line:
                    assert name not in fields
                    fields[name] = value
                elif fields:
                    return Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
        assert not fields, "the stream ended within an event"
        return None

    async def snapshot(self) -> list[dict[str, Any]]:
        """Wait for the next event, a snapshot, and return its jobs."""
        event = await self.next()
        assert event is not None
        return event.jobs

    async def read_rest(self) -> list[Event]:
        """Read all events until the stream ends."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


async def wait_until(holds: Callable[[], bool], within_seconds: float = TIMEOUT_SECONDS) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(within_seconds):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def count_rejected(server: StreamServer, reason: str) -> float:
    """Return how many requests and connections the server has turned away for this reason."""
    (counter,) = server.uvicorn.lifespan.state["metrics"].requests.rejected.collect()
    (value,) = [
        sample.value
        for sample in counter.samples
        if sample.name.endswith("_total") and sample.labels["reason"] == reason
    ]
    return float(value)


@asynccontextmanager
async def open_server(
    settings: Settings,
    runner: FakeRunner | None = None,
    limits: HttpLimits | None = None,
    clock: Clock | None = None,
    road: Road = Road.DIRECT,
) -> AsyncIterator[StreamServer]:
    """Run the service on a free port."""
    runner = runner or FakeRunner()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        app = create_app(settings, runner, clock, output_prober=ThreadProber(), source_prober=ThreadProber())
        running = create_server(app, settings.host, settings.port, limits)
        if road is Road.PLAIN:
            running.config.http_protocol_class = H11Protocol
            running.config.ws_protocol_class = WebSocketsSansIOProtocol
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        await wait_until(lambda: running.started)
        origin = f"http://127.0.0.1:{settings.port}"
        async with httpx.AsyncClient(base_url=origin, timeout=TIMEOUT_SECONDS) as client:
            server = StreamServer(client, runner, settings, running, serving)
            try:
                yield server
            finally:
                if not serving.done():
                    await server.stop()
                await serving
