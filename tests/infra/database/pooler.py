"""A pooler in front of PostgreSQL: like PgBouncer it accepts few start-up parameters.

It works in session mode, or drops notifications, as those in transaction mode do.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102
KNOWN = {"user", "database", "client_encoding", "datestyle", "timezone", "application_name"} | {
    "standard_conforming_strings"
}


@dataclass
class Pooler:
    """Its URL, and the parameters at the start of each connection."""

    url: str = ""
    started: list[dict[str, str]] = field(default_factory=list)
    drops_notifications: bool = False


@asynccontextmanager
async def run_pooler(
    postgresql_url: str, port: int = 0, *, drops_notifications: bool = False
) -> AsyncIterator[Pooler]:
    """Run a pooler in front of the server of a URL."""
    target = urlsplit(postgresql_url)
    folder = parse_qs(target.query).get("host", [""])[0]
    proxy = Pooler(drops_notifications=drops_notifications)
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await _serve(proxy, folder, reader, writer)
        open_writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"postgresql://{target.username}@127.0.0.1:{port}{target.path}?sslmode=disable"
    try:
        yield proxy
    finally:
        server.close()
        for writer in open_writers:
            writer.transport.abort()


async def _serve(
    proxy: Pooler, folder: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    length, code = struct.unpack("!II", await reader.readexactly(8))
    body = await reader.readexactly(length - 8)
    words = body.decode().split("\0")
    parameters = dict(zip(words[:-2:2], words[1:-2:2], strict=True)) if code != CANCEL_REQUEST else {}
    unknown = [name for name in parameters if name.lower() not in KNOWN]
    if unknown:
        writer.write(_error(f"unsupported startup parameter: {unknown[0]}"))
        await writer.drain()
        return
    proxy.started.append(parameters)
    upstream, downstream = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
    downstream.write(struct.pack("!II", length, code) + body)
    answer = _copy_messages if proxy.drops_notifications else _copy
    await asyncio.gather(_copy(reader, downstream), answer(upstream, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _copy_messages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy the server's messages, apart from notifications."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            kind, length = struct.unpack("!cI", await reader.readexactly(5))
            body = await reader.readexactly(length - 4)
            if kind != b"A":
                writer.write(struct.pack("!cI", kind, length) + body)
                await writer.drain()
    writer.close()


def _error(message: str) -> bytes:
    fields = f"SFATAL\0VFATAL\0C08P01\0M{message}\0\0".encode()
    return b"E" + struct.pack("!I", 4 + len(fields)) + fields
