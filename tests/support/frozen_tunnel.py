"""A tunnel to PostgreSQL that can stop forwarding without closing, as a network that drops packets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FreezableTunnel:
    """Forwards connections; `freeze` keeps the present ones open and stops their data."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._forwarding = _set_event()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.username or "postgres"
        self.url = f"postgresql://{user}:{self._target.password or ''}@127.0.0.1:{port}{self._target.path}"

    def freeze(self) -> None:
        """Stop forwarding on the open connections; later ones work."""
        self._forwarding.clear()
        self._forwarding = _set_event()

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._connect()
        self._writers += [writer, server_writer]
        forwarding = self._forwarding
        with suppress(OSError):
            await asyncio.gather(
                _pump(reader, server_writer, forwarding), _pump(server_reader, writer, forwarding)
            )

    async def _connect(self) -> Streams:
        folder = parse_qs(self._target.query).get("host")
        if folder:
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.hostname, self._target.port or 5432)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, forwarding: asyncio.Event
) -> None:
    while data := await source.read(65_536):
        await forwarding.wait()
        target.write(data)
        await target.drain()
    target.close()


@asynccontextmanager
async def open_tunnel(url: str) -> AsyncIterator[FreezableTunnel]:
    tunnel = FreezableTunnel(url)
    await tunnel.open()
    try:
        yield tunnel
    finally:
        tunnel.close()
