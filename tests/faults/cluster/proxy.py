"""A balancer in front of the replicas, which treats callbacks as badly as a network may."""

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


class Fate(StrEnum):
    """What becomes of one callback."""

    PASS = "pass"
    TWICE = "twice"  # forwarded two times at once
    SLOW = "slow"  # forwarded later, while the sender waits
    LATE = "late"  # forwarded later, after the sender was told that it is lost
    LOST = "lost"  # never forwarded
    MUTE = "mute"  # forwarded, and the answer is lost


@dataclass(frozen=True)
class Weather:
    """How often which fate falls, of a hundred; the rest passes. `seconds` bounds every delay."""

    twice: int = 0
    slow: int = 0
    late: int = 0
    lost: int = 0
    mute: int = 0
    seconds: float = 0.0

    def fate(self, chance: random.Random) -> Fate:
        odds = {
            Fate.TWICE: self.twice,
            Fate.SLOW: self.slow,
            Fate.LATE: self.late,
            Fate.LOST: self.lost,
            Fate.MUTE: self.mute,
        }
        left = 100 - sum(odds.values())
        return chance.choices([*odds, Fate.PASS], [*odds.values(), max(0, left)])[0]


Deliver = Callable[[], Awaitable[bytes | None]]
Judge = Callable[[bytes, Deliver], Awaitable[bytes | None]]
"""Is given a callback's body and a way to deliver it; gives the answer, None if there was none."""


class Proxy:
    """Takes each connection to the next replica that lets it in."""

    def __init__(self, ports: Sequence[int], judge: Judge) -> None:
        self.weather = Weather()
        self.chance = random.Random(0)  # noqa: S311 - chance, not secrecy
        self.port = 0
        self.fates: dict[Fate, int] = dict.fromkeys(Fate, 0)
        self._ports = list(ports)
        self._judge = judge
        self._turn = 0
        self._late: set[asyncio.Task[bytes | None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        await self.delivered()
        assert self._server is not None
        self._server.close()

    async def delivered(self) -> None:
        """Wait for everything that is still to be forwarded."""
        while self._late:
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST /api/callbacks/"):
                    await self._callback(head, reader, writer)
                else:
                    await self._tunnel(head, reader, writer)
            finally:
                writer.close()

    async def _callback(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        answer = await self._treated(_closing(head) + body, body)
        if answer is not None:
            writer.write(answer)
            await writer.drain()

    async def _treated(self, request: bytes, body: bytes) -> bytes | None:
        async def deliver() -> bytes | None:
            return await self._asked(request)

        fate, pause = self.weather.fate(self.chance), self.chance.random() * self.weather.seconds
        self.fates[fate] += 1
        match fate:
            case Fate.LOST:
                return None
            case Fate.LATE:
                task = asyncio.create_task(self._later(pause * 3, body, deliver))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                return None
            case Fate.SLOW:
                await asyncio.sleep(pause)
            case Fate.TWICE:
                return (await asyncio.gather(self._judge(body, deliver), self._judge(body, deliver)))[0]
            case Fate.MUTE:
                await self._judge(body, deliver)
                return None
            case Fate.PASS:
                pass
        return await self._judge(body, deliver)

    async def _later(self, pause: float, body: bytes, deliver: Deliver) -> bytes | None:
        await asyncio.sleep(pause)
        return await self._judge(body, deliver)

    async def _asked(self, request: bytes) -> bytes | None:
        """The whole answer of a replica; None if the connection broke, or nothing came."""
        way = await self._connected()
        if way is None:
            return None
        reader, writer = way
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
        way = await self._connected()
        if way is None:
            writer.write(_BAD_GATEWAY)
            await writer.drain()
            return
        back, forth = way
        forth.write(head)
        try:
            async with asyncio.TaskGroup() as both:
                asked = both.create_task(_pumped(reader, forth))
                answered = both.create_task(_pumped(back, writer))
                await asyncio.wait((asked, answered), return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
                answered.cancel()
        finally:
            forth.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._ports:
            self._turn += 1
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._ports[self._turn % len(self._ports)])
        return None


async def _pumped(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(65_536):
            target.write(piece)
            await target.drain()


def _closing(head: bytes) -> bytes:
    """The same request, asking for the connection to be closed: its answer ends where that does."""
    return _CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"
