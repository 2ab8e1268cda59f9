"""A link of limited bandwidth in front of a server."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 256 * 1024


@dataclass
class Link:
    """The address of the link, and the bytes that have come from the server."""

    port: int = 0
    down_bytes: int = 0
    _free_at: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def take_turn(self, way: str, size: int, bytes_per_second: float) -> None:
        """Wait as long as these bytes take, after all others in the same direction."""
        clock = asyncio.get_running_loop().time
        self._free_at[way] = max(clock(), self._free_at.get(way, 0.0)) + size / bytes_per_second
        await asyncio.sleep(self._free_at[way] - clock())


@contextmanager
def limit_bandwidth(port: int, bytes_per_second: float) -> Iterator[Link]:
    """Open a link to a loopback port with this bandwidth each way, shared by all connections."""
    link, ready, done = Link(), threading.Event(), threading.Event()

    async def carry(way: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                await link.take_turn(way, len(chunk), bytes_per_second)
                link.down_bytes += len(chunk) if way == "down" else 0
                target.write(chunk)
                await target.drain()
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry("up", reader, back), carry("down", there, writer))

    async def serve() -> None:
        server = await asyncio.start_server(forward, "127.0.0.1", 0)
        async with server:
            link.port = server.sockets[0].getsockname()[1]
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield link
    finally:
        done.set()
        thread.join()
