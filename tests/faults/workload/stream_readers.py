"""Readers that reconnect: raw Server-Sent Events and WebSocket, checked frame by frame."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import connect

from tests.faults.checkers.database_reader import FINAL
from tests.faults.checkers.inbox_checker import BATCH_COMPLETED, ERASED
from tests.faults.checkers.stream_checker import StreamChecker

SILENT_SECONDS = 6.0
PAUSE_SECONDS = 0.1
ERASED_CODE = 4410
Frame = tuple[str | None, dict[str, Any]]  # the event's name, where there is one, and the job


class ReconnectingReader:
    """Reads one export, or all of a user's, and reconnects until it is stopped."""

    def __init__(self, name: str, port: int, bearer: str, job_id: str | None, checker: StreamChecker) -> None:
        self.name = name
        self.job_id = job_id
        self.checker = checker
        self._port = port
        self._bearer = bearer
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._task: asyncio.Task[None] | None = None
        self._cut = asyncio.Event()
        self._last_event_id = ""

    def start(self) -> None:
        self._task = asyncio.create_task(self._reconnect())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and self._task.exception() is not None:
                raise self._task.exception() or AssertionError

    def pause(self) -> None:
        """Stop reading from the connection."""
        self._resumed.clear()

    def resume(self) -> None:
        self._resumed.set()

    def cut(self) -> None:
        """Drop the connection."""
        self._cut.set()

    async def _reconnect(self) -> None:
        while True:
            self._cut.clear()
            self.checker.start_connection()
            reading = asyncio.create_task(self._read_connection())
            cut = asyncio.create_task(self._cut.wait())
            try:
                await asyncio.wait((reading, cut), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (reading, cut):
                    task.cancel()
                result, _ = await asyncio.gather(reading, cut, return_exceptions=True)
            if isinstance(result, Exception) and not isinstance(result, _BREAKS):
                raise result
            has_ended = any(job["status"] in FINAL for job in self.checker.latest.values())
            await asyncio.sleep(PAUSE_SECONDS * (5 if has_ended else 1))

    async def _read_connection(self) -> None:
        async with aclosing(self._frames()) as frames:
            async for event, job in frames:
                await self.checker.check_frame(event, job)
                await self._resumed.wait()

    def _frames(self) -> AsyncGenerator[Frame, None]:
        """Yield one connection's frames."""
        raise NotImplementedError


class EventReader(ReconnectingReader):
    """Reads Server-Sent Events from a socket."""

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4_096)
        try:
            writer.write(self._request())
            async with asyncio.timeout(SILENT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.checker.check_status(status, self.job_id)
            if status != 200:
                return
            async for block in _split_events(_decode_chunks(reader)):
                self.checker.note_open()
                self._last_event_id = block.get("id", self._last_event_id)
                for event, job in _parse_states(block):
                    if event not in (None, BATCH_COMPLETED) and self.job_id is not None:
                        self.checker.check_id(block["id"], job)
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


class SocketReader(ReconnectingReader):
    """Reads a WebSocket."""

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        path = "/ws/exports" if self.job_id is None else f"/ws/export/{self.job_id}"
        async with self._connect(path) as socket:
            try:
                async for text in socket:
                    job = json.loads(text)
                    done = job.pop("done")
                    is_erased = "erased_at" in job  # its event has no name here
                    is_last = is_erased or job["status"] in FINAL
                    self.checker.history.require(done == is_last, f"{self.name}: done is {done} on {job}")
                    yield (ERASED if is_erased else None), job
            finally:
                code = socket.close_code
                self.checker.history.require(code != 4401, f"{self.name}: closed with {code}")
                if code == ERASED_CODE:
                    self.checker.check_status(410, self.job_id)

    @asynccontextmanager
    async def _connect(self, path: str) -> AsyncIterator[websockets.ClientConnection]:
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
        except websockets.InvalidStatus as error:
            status = error.response.status_code
            self.checker.check_status(status, self.job_id)
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


async def _decode_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with suppress(asyncio.IncompleteReadError):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)


async def _split_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """Yield the fields of each event."""
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        while b"\n\n" in buffer:
            block, _, buffer = buffer.partition(b"\n\n")
            lines = [line for line in block.decode().split("\n") if not line.startswith(":")]
            yield dict(line.split(": ", 1) for line in lines)


def _parse_states(block: dict[str, str]) -> list[Frame]:
    event, data = block.get("event", ""), json.loads(block.get("data", "{}"))
    if event == BATCH_COMPLETED:
        return [(event, data)]
    if not event.startswith("export."):
        return []  # the reason why the stream ends
    if event == "export.snapshot":
        return [(None, job) for job in data["exports"]]
    return [(event, data)]
