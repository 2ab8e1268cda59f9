"""A load balancer in front of the replicas that applies network faults to callbacks."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

ANSWER_SECONDS = 8.0
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class CallbackFault(StrEnum):
    """What happens to one callback."""

    PASS = "pass"
    TWICE = "twice"  # forwarded two times at once
    SLOW = "slow"  # forwarded later, while the sender waits
    LATE = "late"  # forwarded later, after the sender has counted it as lost
    LOST = "lost"  # never forwarded
    MUTE = "mute"  # forwarded, and the answer is lost


@dataclass(frozen=True)
class NetworkFaults:
    """Percentages of callbacks that get each fault; the rest pass. `seconds` bounds every delay."""

    twice: int = 0
    slow: int = 0
    late: int = 0
    lost: int = 0
    mute: int = 0
    seconds: float = 0.0

    def draw(self, chance: random.Random) -> CallbackFault:
        odds = {
            CallbackFault.TWICE: self.twice,
            CallbackFault.SLOW: self.slow,
            CallbackFault.LATE: self.late,
            CallbackFault.LOST: self.lost,
            CallbackFault.MUTE: self.mute,
        }
        left = 100 - sum(odds.values())
        return chance.choices([*odds, CallbackFault.PASS], [*odds.values(), max(0, left)])[0]


Deliver = Callable[[], Awaitable[bytes | None]]
HandleCallback = Callable[[bytes, Deliver], Awaitable[bytes | None]]
"""Is given a callback's body and a connection to deliver it; gives the answer, None if there was none."""


class Proxy:
    """Forwards each connection to the next replica that accepts it."""

    def __init__(self, ports: Sequence[int], handle_callback: HandleCallback) -> None:
        self.network_faults = NetworkFaults()
        self.chance = random.Random(0)  # noqa: S311 - chance, not secrecy
        self.port = 0
        self.fault_counts: dict[CallbackFault, int] = dict.fromkeys(CallbackFault, 0)
        self._ports = list(ports)
        self._handle_callback = handle_callback
        self._next_port = 0
        self._tunnels: set[asyncio.StreamWriter] = set()
        self._late: set[asyncio.Task[bytes | None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        await self.wait_delivered()
        assert self._server is not None
        self._server.close()

    def cut(self) -> int:
        """Abort all connections but those of callbacks; return how many there were."""
        for writer in self._tunnels:
            writer.transport.abort()
        return len(self._tunnels)

    async def wait_delivered(self) -> None:
        """Wait until every delayed callback has been forwarded."""
        while self._late:
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST /api/callbacks/"):
                    await self._forward_callback(head, reader, writer)
                else:
                    await self._tunnel(head, reader, writer)
            finally:
                writer.close()

    async def _forward_callback(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        answer = await self._apply_fault(_with_connection_close(head) + body, body)
        if answer is not None:
            writer.write(answer)
            await writer.drain()

    async def _apply_fault(self, request: bytes, body: bytes) -> bytes | None:
        async def deliver() -> bytes | None:
            return await self._exchange(request)

        fault, pause = (
            self.network_faults.draw(self.chance),
            self.chance.random() * self.network_faults.seconds,
        )
        self.fault_counts[fault] += 1
        match fault:
            case CallbackFault.LOST:
                return None
            case CallbackFault.LATE:
                task = asyncio.create_task(self._forward_later(pause * 3, body, deliver))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                return None
            case CallbackFault.SLOW:
                await asyncio.sleep(pause)
            case CallbackFault.TWICE:
                return (
                    await asyncio.gather(
                        self._handle_callback(body, deliver), self._handle_callback(body, deliver)
                    )
                )[0]
            case CallbackFault.MUTE:
                await self._handle_callback(body, deliver)
                return None
            case CallbackFault.PASS:
                pass
        return await self._handle_callback(body, deliver)

    async def _forward_later(self, pause: float, body: bytes, deliver: Deliver) -> bytes | None:
        await asyncio.sleep(pause)
        return await self._handle_callback(body, deliver)

    async def _exchange(self, request: bytes) -> bytes | None:
        """Return a replica's whole response, or None if none came."""
        connection = await self._connect()
        if connection is None:
            return None
        reader, writer = connection
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(request)
                await writer.drain()
                return (await reader.read()) or None
        except (OSError, TimeoutError):
            return None
        finally:
            writer.close()

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = await self._connect()
        if connection is None:
            writer.write(_BAD_GATEWAY)
            await writer.drain()
            return
        replica_reader, replica_writer = connection
        replica_writer.write(head)
        self._tunnels.add(writer)
        try:
            async with asyncio.TaskGroup() as directions:
                upstream = directions.create_task(_pump(reader, replica_writer))
                downstream = directions.create_task(_pump(replica_reader, writer))
                await asyncio.wait((upstream, downstream), return_when=asyncio.FIRST_COMPLETED)
                upstream.cancel()
                downstream.cancel()
        finally:
            self._tunnels.discard(writer)
            replica_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._ports:
            self._next_port += 1
            with suppress(OSError):
                return await asyncio.open_connection(
                    "127.0.0.1", self._ports[self._next_port % len(self._ports)]
                )
        return None


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(65_536):
            target.write(chunk)
            await target.drain()


def _with_connection_close(head: bytes) -> bytes:
    """Return the request with `Connection: close`, so that the response ends with the connection."""
    return _CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"
