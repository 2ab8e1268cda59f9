"""Readers that come back: raw Server-Sent Events and WebSocket, held against all that a reader may rely on."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import connect

from tests.faults.checkers.database_reader import FINAL
from tests.faults.checkers.stream_checker import Witness

SILENT_SECONDS = 6.0
PAUSE_SECONDS = 0.1
Frame = tuple[str | None, dict[str, Any]]  # the event's name, where there is one, and the job


class Reader:
    """Reads one export, or all of a user's, until stopped; whatever breaks, it comes back."""

    def __init__(self, name: str, port: int, bearer: str, job_id: str | None, witness: Witness) -> None:
        self.name = name
        self.job_id = job_id
        self.witness = witness
        self._port = port
        self._bearer = bearer
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._task: asyncio.Task[None] | None = None
        self._cut = asyncio.Event()
        self._last_event_id = ""

    def start(self) -> None:
        self._task = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and self._task.exception() is not None:
                raise self._task.exception() or AssertionError

    def pause(self) -> None:
        """Take nothing from the connection."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Drop the connection."""
        self._cut.set()

    async def _stay(self) -> None:
        while True:
            self._cut.clear()
            self.witness.connected()
            once = asyncio.create_task(self._once())
            cut = asyncio.create_task(self._cut.wait())
            try:
                await asyncio.wait((once, cut), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (once, cut):
                    task.cancel()
                ended, _ = await asyncio.gather(once, cut, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, _BREAKS):
                raise ended
            over = any(job["status"] in FINAL for job in self.witness.held.values())
            await asyncio.sleep(PAUSE_SECONDS * (5 if over else 1))

    async def _once(self) -> None:
        async with aclosing(self._frames()) as frames:
            async for event, job in frames:
                await self.witness.take(event, job)
                await self._flowing.wait()

    def _frames(self) -> AsyncGenerator[Frame, None]:
        """One connection's frames; each kind of reader has its own."""
        raise NotImplementedError


class EventReader(Reader):
    """Server-Sent Events, over a socket of its own."""

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4_096)
        try:
            writer.write(self._request())
            async with asyncio.timeout(SILENT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.witness.answered(status)
            if status != 200:
                return
            async for block in _blocks(_unchunked(reader)):
                self._last_event_id = block.get("id", self._last_event_id)
                for event, job in _states(block, per_export=self.job_id is not None):
                    yield event, job
        finally:
            writer.close()

    def _request(self) -> bytes:
        path = "events" if self.job_id is None else f"{self.job_id}/events"
        last = f"Last-Event-ID: {self._last_event_id}\r\n" if self._last_event_id else ""
        return (
            f"GET /api/exports/{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: Bearer {self._bearer}\r\nAccept: text/event-stream\r\n{last}\r\n"
        ).encode()


class SocketReader(Reader):
    """WebSocket."""

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        path = "/ws/exports" if self.job_id is None else f"/ws/export/{self.job_id}"
        async with self._connected(path) as socket:
            try:
                async for text in socket:
                    job = json.loads(text)
                    done = job.pop("done")
                    self.witness.record.require(
                        done == (job["status"] in FINAL), f"{self.name}: done is {done} on {job['status']}"
                    )
                    yield None, job
            finally:
                code = socket.close_code
                self.witness.record.require(code != 4401, f"{self.name}: closed with {code}")

    @asynccontextmanager
    async def _connected(self, path: str) -> AsyncIterator[websockets.ClientConnection]:
        try:
            async with connect(
                f"ws://127.0.0.1:{self._port}{path}",
                additional_headers={"Authorization": f"Bearer {self._bearer}"},
                proxy=None,
                open_timeout=SILENT_SECONDS,
                close_timeout=0.2,
                ping_interval=None,
                max_queue=1,
            ) as socket:
                yield socket
        except websockets.InvalidStatus as refused:
            status = refused.response.status_code
            self.witness.record.require(status not in (401, 404), f"{self.name}: refused with {status}")
            raise


_BREAKS = (
    OSError,
    EOFError,
    TimeoutError,
    asyncio.LimitOverrunError,
    websockets.InvalidHandshake,
    websockets.InvalidMessage,
    websockets.ConnectionClosed,
)


async def _unchunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with suppress(asyncio.IncompleteReadError):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """The fields of each event."""
    held = b""
    async for piece in pieces:
        held += piece
        while b"\n\n" in held:
            block, _, held = held.partition(b"\n\n")
            lines = [line for line in block.decode().split("\n") if not line.startswith(":")]
            yield dict(line.split(": ", 1) for line in lines)


def _states(block: dict[str, str], *, per_export: bool) -> list[Frame]:
    event, told = block.get("event", ""), json.loads(block.get("data", "{}"))
    if not event.startswith("export."):
        return []  # why the stream ends
    if event == "export.snapshot":
        return [(None, job) for job in told["exports"]]
    assert not per_export or block["id"] == str(told["sequence"])
    return [(event, told)]
