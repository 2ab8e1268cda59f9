"""A consumer's server on loopback: checks what it is sent, and does not always take it well."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.checkers.inbox_checker import Arrival, Inbox
from tests.faults.checkers.violations import Record
from tests.faults.cluster.clock import is_about_now

_GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Treatment:
    """What becomes of one request: answered after so many seconds, or dropped then where there is no status."""

    status: int | None = 204
    seconds: float = 0.0


Mood = Callable[[Arrival, int], Treatment]
"""How a request is treated, by what it is and how often it has come."""


@dataclass(frozen=True)
class Temper:
    """How often an endpoint is slow, fails or hangs up, of a hundred; the rest is taken at once."""

    slow: int = 0
    failing: int = 0
    dropping: int = 0
    seconds: float = 0.0

    def mood(self, chance: random.Random) -> Mood:
        def treated(_arrival: Arrival, _times: int) -> Treatment:
            left = 100 - self.slow - self.failing - self.dropping
            kind = chance.choices(
                ("slow", "failing", "dropping", "well"), (self.slow, self.failing, self.dropping, left)
            )[0]
            if kind == "well":
                return Treatment()
            seconds = chance.random() * self.seconds
            if kind == "slow":
                return Treatment(200, seconds)
            return Treatment(chance.choice((500, 503)) if kind == "failing" else None, seconds / 4)

        return treated


class Receiver:
    """Endpoints by path, each with an inbox and a mood of its own."""

    def __init__(self, is_now: Callable[[float], bool] = is_about_now) -> None:
        """`is_now`: whether the service's clock may show this time."""
        self.port = 0
        self._is_now = is_now
        self.busy = asyncio.Event()  # set while there are requests that are not answered yet
        self.open_requests = 0
        self._endpoints: dict[str, tuple[Inbox, Mood]] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def endpoint(self, name: str, record: Record, mood: Mood) -> Inbox:
        """A new endpoint; whatever is wrong with what comes goes into `record`."""
        inbox = Inbox(record, self._is_now)
        self._endpoints[f"/{name}"] = inbox, mood
        return inbox

    def calm(self, name: str) -> None:
        """From here on it takes everything."""
        inbox, _ = self._endpoints[f"/{name}"]
        self._endpoints[f"/{name}"] = inbox, lambda *_: Treatment()

    def _opened(self, more: int) -> None:
        self.open_requests += more
        if self.open_requests:
            self.busy.set()
        else:
            self.busy.clear()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("ascii").rstrip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                await self._answer(line.split(" ")[1], headers, body, writer)
            finally:
                writer.close()

    async def _answer(
        self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if path not in self._endpoints:  # of a schedule that is over
            writer.write(_GONE)
            return
        inbox, mood = self._endpoints[path]
        arrival = inbox.take(headers, body)
        treatment = mood(arrival, len(inbox.arrivals[arrival.delivery_id]))
        self._opened(1)
        try:
            await asyncio.sleep(treatment.seconds)
        finally:
            self._opened(-1)
        if treatment.status is None:
            writer.transport.abort()
            return
        arrival.status = treatment.status  # from here on the sender may know
        writer.write(b"HTTP/1.1 %d .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % treatment.status)
        await writer.drain()
