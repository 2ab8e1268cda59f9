"""A TCP proxy before the service: it cuts and freezes connections, swallows WebSockets, and counts attempts."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

_HEAD_END = b"\r\n\r\n"
_STREAM_PATH = re.compile(r"/ws/|/events\b")
WAIT_SECONDS = 60


class Sockets(StrEnum):
    """What happens to the handshake of a WebSocket."""

    PASS = "pass"
    REFUSE = "refuse"
    HANG = "hang"
    MUTE = "mute"
    """The handshake passes, then no message does."""


@dataclass(eq=False)
class Connection:
    """One request, for the proxy lets connections carry no second one."""

    method: str
    path: str
    is_socket: bool
    opened_at: float
    status: int | None = None
    is_open: bool = True
    flow: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def is_stream(self) -> bool:
        return bool(_STREAM_PATH.search(self.path)) and self.method == "GET"


class FaultyProxy:
    """Forwards each request to `port`; `connections` are all that there ever were."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sockets = Sockets.PASS
        self.is_down = False
        self.connections: list[Connection] = []
        self.most_streams = 0
        self.url = ""
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_streams(self) -> list[Connection]:
        """The streams and sockets that are open now, frozen ones left out."""
        return [each for each in self.connections if each.is_open and each.is_stream and each.flow.is_set()]

    @property
    def stream_statuses(self) -> list[int | None]:
        """What each stream and socket that was ever asked for was answered; None if nothing."""
        return [each.status for each in self.connections if each.is_stream]

    @property
    def stream_attempts(self) -> int:
        """How many streams and sockets were ever asked for."""
        return len(self.stream_statuses)

    def cut(self) -> None:
        """Break every open connection."""
        for connection in self.connections:
            for writer in connection.writers if connection.is_open else ():
                writer.transport.abort()

    def freeze(self) -> None:
        """Stop forwarding on the open streams without closing them; later ones work."""
        for connection in self.open_streams:
            connection.flow.clear()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked at each change of a connection."""
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(holds)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy closes; the server's own callback would log it
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(_HEAD_END)
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        is_socket = b"\r\nupgrade: websocket\r\n" in head.lower()
        connection = Connection(method, path, is_socket, asyncio.get_running_loop().time(), writers=[writer])
        connection.flow.set()
        await self.note(lambda: self.connections.append(connection))
        try:
            if is_socket and self.sockets is Sockets.REFUSE:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            elif is_socket and self.sockets is Sockets.HANG:
                await reader.read()
            elif not self.is_down:
                await self._forward(connection, head, reader, writer)
        finally:
            await self.note(lambda: setattr(connection, "is_open", False))

    async def _forward(
        self,
        connection: Connection,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        connection.writers.append(server_writer)
        server_writer.write(head if connection.is_socket else _close_after(head))
        upward = asyncio.create_task(_pump(reader, server_writer, connection.flow))
        try:
            answer = await server_reader.readuntil(_HEAD_END)
            connection.status = int(answer.split(b" ", 2)[1])
            await self.note(lambda: None)
            writer.write(answer)
            if connection.is_socket and self.sockets is Sockets.MUTE:
                connection.flow.clear()
            await _pump(server_reader, writer, connection.flow)
        finally:
            upward.cancel()
            server_writer.transport.abort()

    async def note(self, change: Callable[[], object]) -> None:
        """Make a change that a waiting condition may depend on."""
        async with self._changed:
            change()
            self.most_streams = max(self.most_streams, len(self.open_streams))
            self._changed.notify_all()


def _close_after(head: bytes) -> bytes:
    """Ask the service to close the connection after its answer."""
    head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
    return head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with suppress(OSError):  # one side is gone; the other is closed next
        while data := await reader.read(65_536):
            await flow.wait()
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def open_proxy(port: int) -> AsyncIterator[FaultyProxy]:
    """Run a proxy on loopback to the service on `port`."""
    proxy = FaultyProxy(port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
