"""Receivers of webhooks on loopback: good ones that note arrivals, and hostile ones of every kind."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from ssl import SSLContext, SSLError

Conduct = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_FINE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
_MEGABYTE = b"z" * (1 << 20)


class Arrivals:
    """When each export's event arrived, by `time.perf_counter`, and how many there are."""

    def __init__(self) -> None:
        self.at: list[tuple[str, float]] = []
        self._more = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one delivery and answer 204 immediately."""
        _, body = await request(reader)
        self.at.append((json.loads(body)["data"].get("job_id", ""), time.perf_counter()))
        writer.write(_FINE)
        self._more.set()

    async def wait_for(self, count: int, *, within_seconds: float) -> bool:
        """Wait for so many arrivals; return whether they came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while len(self.at) < count:
                    self._more.clear()
                    await self._more.wait()
        return len(self.at) >= count


async def request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return head and body of a request with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Accept, and do nothing more."""
    await asyncio.Event().wait()


async def read_and_hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await request(reader)
    await asyncio.Event().wait()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of the answer a second."""
    await request(reader)
    writer.write(_HEAD + b"Content-Length: 999999\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(_HEAD)
    while True:
        writer.write(b"X-More: and more\r\n" * 1_000)
        await writer.drain()


async def ten_gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(_HEAD + b"Content-Length: 10737418240\r\n\r\n")
    while True:
        writer.write(_MEGABYTE)
        await writer.drain()


async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:22/\r\nContent-Length: 0\r\n\r\n")


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close in the middle of the answer."""
    await request(reader)
    writer.write(_HEAD + b"Content-Length: 10\r\n\r\n12345")


async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a TLS handshake with something else."""
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


HOSTILE: dict[str, Conduct] = {
    "http accepts and hangs": hang,
    "http reads and hangs": read_and_hang,
    "http drips": drip,
    "http sends headers without end": endless_headers,
    "http sends 10 GB": ten_gigabytes,
    "http redirects to loopback": redirect,
    "http closes in the middle": half,
    "https speaks no TLS": no_tls,
}


@asynccontextmanager
async def receive_with(accept: Conduct, *, ssl: SSLContext | None = None) -> AsyncIterator[int]:
    """Yield the port of a receiver that handles every connection with this function."""
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            with suppress(ConnectionError, SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await accept(reader, writer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()
            open_now.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


async def _hostile() -> None:
    async with AsyncExitStack() as stack:
        ports = {
            name: await stack.enter_async_context(receive_with(accept)) for name, accept in HOSTILE.items()
        }
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


@contextmanager
def start_hostile_receivers() -> Iterator[dict[str, int]]:
    """Run the hostile receivers in a process of their own, so that they do not delay the measurement."""
    command = [sys.executable, "-m", "tests.bench.webhooks.hostile_receivers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_hostile())
