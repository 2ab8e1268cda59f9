"""The fast road of a stream: the hub writes states straight to its connection.

The server offers its connections as an extension of ASGI. A task opens the stream and ends; the stream goes on without
it. Where a server offers no connections, the task sends each state.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Protocol, Self

from service.api.streaming.lifetime import Lifetime, StreamEnd
from service.clock import Clock
from service.fanout.broadcast import Broadcast
from service.fanout.publications import Publication
from service.fanout.subscribers import Encode, Subscriber

EXTENSION: Final = "framehook.direct"
TICK_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15
STALL_SECONDS = 30
"""How long a client may take nothing before its stream is closed."""

Message = MutableMapping[str, Any]


class Connection(Protocol):
    """A connection that the server offers for the fast road."""

    transport: asyncio.Transport
    """Keeps what the client does not take."""

    @staticmethod
    def encode(text: bytes) -> bytes:
        """Return the frame that carries a text."""
        ...

    def attach(self, stream: "DirectStream") -> None:
        """Tell the stream from now on what happens to the connection."""
        ...

    def take_over(self) -> None:
        """Go on without the application, and pause the stream at the first unsent byte."""
        ...

    def detach(self) -> None:
        """Serve the connection in the usual way again."""
        ...

    def keep_alive(self) -> None:
        """Write something that proxies see; called every `KEEP_ALIVE_SECONDS`."""
        ...


def _do_nothing(*_: object) -> None: ...


class ConnectionCut(Exception):
    """The connection was lost, or has to be closed with the code."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class DirectStream:
    """A stream that is opened in a block, which raises ConnectionCut, and then may go on without a task.

    `receive` gets each message of a WebSocket and returns a code to close it with, or None. `end` writes the end of
    the stream: a code, why it ends early, or None after the last state of an export.
    """

    write: Callable[[bytes], None]
    _lifetime: Lifetime

    def __init__(
        self,
        connection: Connection,
        timer: "StreamTimer",
        end: Callable[[StreamEnd | int | None], None],
        receive: Callable[[Message], int | None] = _do_nothing,
    ) -> None:
        self.connection = connection
        self.resources = ExitStack()
        """What the stream holds until its end."""
        self.goes_on = False
        self.is_blocked = False
        self._timer, self._write_end, self._receive = timer, end, receive
        self._task: asyncio.Task[Any] | None = None
        self._is_over = False
        self._code: int | None = None
        self._keep_back: Callable[[], None] = _do_nothing
        self._catch_up: Callable[[], None] = _do_nothing
        self._ticks = self._blocked_ticks = 0

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self.connection.attach(self)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        task, self._task = self._task, None
        if self.goes_on:
            return
        is_cut, self._is_over = self._is_over, True
        self.connection.detach()
        self.resources.close()
        if is_cut and error_type is asyncio.CancelledError and task is not None and task.uncancel() == 0:
            raise ConnectionCut(self._code) from None

    def follow_export(self, broadcast: Broadcast, first: Publication, lifetime: Lifetime) -> None:
        """Go on with the states of an export after the first one."""
        if self._is_over:
            return
        self._keep_back, self._catch_up = partial(broadcast.pause, self), partial(broadcast.resume, self)
        self._go_on(lifetime)
        self.resources.callback(broadcast.remove, self)
        broadcast.add(self, first)

    def follow_user(self, subscriber: Subscriber, encode: Encode, lifetime: Lifetime) -> None:
        """Go on with the states of a user's exports."""
        if self._is_over:
            return
        self._catch_up = subscriber.flush
        self._go_on(lifetime)
        subscriber.attach(self, encode)

    def _go_on(self, lifetime: Lifetime) -> None:
        self.goes_on = True
        self.write, self._lifetime = self.connection.transport.write, lifetime
        self._timer.streams.add(self)
        self.resources.callback(self._timer.streams.discard, self)
        self.connection.take_over()

    # Called by the broadcast or the subscriber

    def finish(self, last: Publication) -> None:
        """End the stream with the export, of which this is the last state."""
        self._end(StreamEnd.ERASED if last.job is None else None)

    def close(self) -> None:
        """End the stream because the hub is closed."""
        self._end(StreamEnd.RECONNECT)

    # Called by the server

    def pause(self) -> None:
        """Keep states back: the connection holds unsent bytes."""
        self.is_blocked = True
        self._keep_back()

    def resume(self) -> None:
        """Write the newest states: everything was sent."""
        self.is_blocked, self._blocked_ticks = self._is_over, 0
        self._catch_up()

    def receive(self, message: Message) -> None:
        """Pass on a message of the client."""
        code = self._receive(message)
        if message["type"] == "websocket.disconnect":
            self.lose()
        elif code is not None:
            close = self._end if self.goes_on else self._cut
            close(code)

    def lose(self) -> None:
        """Release everything: the connection was lost."""
        if self.goes_on:
            self._stop()
        else:
            self._cut(None)

    # Called by the timer

    def tick(self, now: float) -> None:
        """End the stream if it is old or its client stalls, else keep the connection alive."""
        self._ticks += 1
        if self.is_blocked:
            self._blocked_ticks += 1
            if self._blocked_ticks > STALL_SECONDS:
                self._end(StreamEnd.SLOW_CLIENT)
        elif (end := self._lifetime.find_end(now)) is not None:
            self._end(end)
        elif self._ticks % KEEP_ALIVE_SECONDS == 0:
            self.connection.keep_alive()

    def _cut(self, code: int | None) -> None:
        """Cancel the task that opens the stream."""
        if self._task is not None and not self._is_over:
            self._is_over = self.is_blocked = True
            self._code = code
            self._task.cancel()

    def _stop(self) -> bool:
        """Release everything; return False if that was done before."""
        if self._is_over:
            return False
        self._is_over = self.is_blocked = True
        self.connection.detach()
        self.resources.close()
        return True

    def _end(self, end: StreamEnd | int | None) -> None:
        if self._stop():
            self._write_end(end)


class StreamTimer:
    """One timer for all streams on the fast road."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.streams: set[DirectStream] = set()

    async def run(self) -> None:
        """Check the streams until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Check the streams now."""
        now = self._clock.monotonic()
        for stream in list(self.streams):
            stream.tick(now)
