"""A tunnel to PostgreSQL that can stop forwarding without closing anything, as a network does that drops packets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FreezableTunnel:
    """Forwards connections; those that were open when it froze stay open and say nothing more."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._flowing = _flowing()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.username or "postgres"
        self.url = f"postgresql://{user}:{self._target.password or ''}@127.0.0.1:{port}{self._target.path}"

    def freeze(self) -> None:
        """Let nothing more through on the connections that are open; new ones are not concerned."""
        self._flowing.clear()
        self._flowing = _flowing()

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await self._connect()
        self._writers += [writer, forth]
        flowing = self._flowing
        with suppress(OSError):
            await asyncio.gather(_pump(reader, forth, flowing), _pump(back, writer, flowing))

    async def _connect(self) -> Way:
        folder = parse_qs(self._target.query).get("host")
        if folder:
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.hostname, self._target.port or 5432)


def _flowing() -> asyncio.Event:
    flowing = asyncio.Event()
    flowing.set()
    return flowing


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    while piece := await source.read(65_536):
        await flowing.wait()
        target.write(piece)
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
