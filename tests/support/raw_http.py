"""Requests byte by byte, as no HTTP client would send them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Route

from service.http_server.protocol import BoundedHttpProtocol
from service.http_server.server import Server, create_server
from tests.support.stream_server import wait_until

TIMEOUT_SECONDS = 20


@dataclass
class RawConnection:
    """One connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> bytes:
        """Read the head of the next response."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def status(self) -> int:
        """Read the status of the next response."""
        return int((await self.read_head()).split(b" ")[1])

    async def read_all(self) -> bytes:
        """Read everything until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self.reader.read()


@asynccontextmanager
async def open_connection(port: int, *, source: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
    """Open a connection from an address of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def serve_routes(*routes: Route) -> AsyncIterator[tuple[Server, int]]:
    """Serve routes without the service behind them; give the server and its port."""
    app = Starlette(routes=routes)
    app.state.close_streams = lambda: None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = create_server(app, "127.0.0.1", 0)
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        await wait_until(lambda: running.started)
        yield running, listening.getsockname()[1]
        running.should_exit = True
        await serving


def request_head(
    line: str = "GET /healthz", *, size: int | None = None, close: bool = True, extra: str = ""
) -> bytes:
    """Return the head of a request, padded to `size` bytes if that is given."""
    closing = "connection: close\r\n" if close else ""
    text = f"{line} HTTP/1.1\r\nhost: localhost\r\n{closing}{extra}"
    if size is not None:
        text += "x: " + "a" * (size - len(text) - len("x: \r\n\r\n")) + "\r\n"
    return f"{text}\r\n".encode()


def open_connections(server: Server) -> list[BoundedHttpProtocol]:
    """Return the server's side of all HTTP connections."""
    return [item for item in server.server_state.connections if isinstance(item, BoundedHttpProtocol)]


async def wait_received(server: Server, size: int) -> None:
    """Wait until a connection has this many bytes of an unfinished head."""
    await wait_until(lambda: any(connection._idle_bytes == size for connection in open_connections(server)))


def pass_time(server: Server, seconds: float) -> None:
    """Check the timeouts of all connections as if this time had passed."""
    now = asyncio.get_running_loop().time() + seconds
    for connection in open_connections(server):
        connection.check_timeout(now)
