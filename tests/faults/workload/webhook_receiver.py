"""A consumer's server on loopback that checks requests and misbehaves on demand."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.checkers.inbox_checker import Inbox, ReceivedWebhook
from tests.faults.checkers.violations import History
from tests.faults.cluster.clock import is_about_now

_GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class ResponsePlan:
    """Answer after `seconds`, or drop the connection then if `status` is None."""

    status: int | None = 204
    seconds: float = 0.0


Respond = Callable[[ReceivedWebhook, int], ResponsePlan]
"""How a request is respond, by what it is and how often it has come."""


@dataclass(frozen=True)
class ReceiverBehavior:
    """Percentages of requests that are answered slowly, with an error, or dropped; the rest succeed."""

    slow: int = 0
    failing: int = 0
    dropping: int = 0
    seconds: float = 0.0

    def respond_at_random(self, chance: random.Random) -> Respond:
        def respond(_arrival: ReceivedWebhook, _times: int) -> ResponsePlan:
            accepting = 100 - self.slow - self.failing - self.dropping
            kind = chance.choices(
                ("slow", "failing", "dropping", "accept"), (self.slow, self.failing, self.dropping, accepting)
            )[0]
            if kind == "accept":
                return ResponsePlan()
            seconds = chance.random() * self.seconds
            if kind == "slow":
                return ResponsePlan(200, seconds)
            return ResponsePlan(chance.choice((500, 503)) if kind == "failing" else None, seconds / 4)

        return respond


class Receiver:
    """Endpoints by path, each with an inbox and a function that plans its responses."""

    def __init__(self, is_now: Callable[[float], bool] = is_about_now) -> None:
        """Create a receiver; `is_now`: whether the service's clock may show a time."""
        self.port = 0
        self._is_now = is_now
        self.busy = asyncio.Event()  # set while there are requests that are not answered yet
        self.open_requests = 0
        self._endpoints: dict[str, tuple[Inbox, Respond]] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def add_endpoint(self, name: str, history: History, respond: Respond) -> Inbox:
        """Add an endpoint whose violations go into `history`."""
        inbox = Inbox(history, self._is_now)
        self._endpoints[f"/{name}"] = inbox, respond
        return inbox

    def accept_everything(self, name: str) -> None:
        """Accept every request from now on."""
        inbox, _ = self._endpoints[f"/{name}"]
        self._endpoints[f"/{name}"] = inbox, lambda *_: ResponsePlan()

    def _count_requests(self, more: int) -> None:
        self.open_requests += more
        if self.open_requests:
            self.busy.set()
        else:
            self.busy.clear()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("ascii").rstrip().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (header.partition(":") for header in lines)
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
        inbox, respond = self._endpoints[path]
        arrival = inbox.receive(headers, body)
        plan = respond(arrival, len(inbox.arrivals[arrival.delivery_id]))
        self._count_requests(1)
        try:
            await asyncio.sleep(plan.seconds)
        finally:
            self._count_requests(-1)
        if plan.status is None:
            writer.transport.abort()
            return
        arrival.status = plan.status  # from here on the sender may know
        writer.write(b"HTTP/1.1 %d .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % plan.status)
        await writer.drain()
