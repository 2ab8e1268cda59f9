"""The fast road of a stream: the hub writes states straight to its connection.

The server offers its connections as an extension of ASGI. A task opens the stream and ends; the stream goes on without
it. Where a server offers no connections, the task sends each state.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from typing import Any, Final, Protocol, Self

from service.api.streaming.lifetime import Lifetime, StreamEnd
from service.clock import Clock
from service.fanout.broadcast import Broadcast, Write
from service.fanout.publications import Publication
from service.fanout.subscribers import Subscriber

EXTENSION: Final = "framehook.direct"
TICK_SECONDS = 1.0
STALL_SECONDS = 30.0
"""How long a client may take nothing before its stream is closed."""

Message = MutableMapping[str, Any]
Encode = Callable[[Publication], bytes]
"""Returns the frame of a publication, empty if the client does not get it."""


class Connection(Protocol):
    """A connection that the server offers for the fast road."""

    @property
    def write(self) -> Write:
        """The function that writes a frame; the connection keeps what the client does not take."""
        ...

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

    def tick(self, *, is_quiet: bool) -> None:
        """Keep the connection alive; called once a second, `is_quiet` if nothing was written since."""
        ...


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

    write: Write
    _encode: Encode
    _lifetime: Lifetime

    def __init__(
        self,
        connection: Connection,
        timer: "StreamTimer",
        end: Callable[[StreamEnd | int | None], None],
        receive: Callable[[Message], int | None] = lambda _message: None,
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
        self._broadcast: Broadcast | None = None
        self._subscriber: Subscriber | None = None
        self._blocked_since: float | None = None
        self._sent = self._sent_before = 0

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
        self._broadcast = broadcast
        self._go_on(lifetime)
        self.resources.callback(broadcast.remove, self)
        broadcast.add(self, first)

    def follow_user(self, subscriber: Subscriber, encode: Encode, lifetime: Lifetime) -> None:
        """Go on with the states of a user's exports."""
        if self._is_over:
            return
        self._subscriber, self._encode = subscriber, encode
        self._go_on(lifetime)
        subscriber.attach(self)

    def _go_on(self, lifetime: Lifetime) -> None:
        self.goes_on = True
        self.write, self._lifetime = self.connection.write, lifetime
        self._timer.add(self)
        self.resources.callback(self._timer.discard, self)
        self.connection.take_over()

    # Called by the broadcast or the subscriber

    def send(self, publication: Publication) -> None:
        """Write a state of one of the user's exports."""
        if frame := self._encode(publication):
            self._sent += 1
            self.write(frame)

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
        if self._broadcast is not None:
            self._broadcast.pause(self)

    def resume(self) -> None:
        """Write the newest states: everything was sent."""
        self.is_blocked, self._blocked_since = self._is_over, None
        if self._broadcast is not None:
            self._broadcast.resume(self)
        elif self._subscriber is not None:
            self._subscriber.flush()

    def receive(self, message: Message) -> None:
        """Pass on a message of the client."""
        code = self._receive(message)
        if message["type"] == "websocket.disconnect":
            self.lose()
        elif code is not None and self.goes_on:
            self._end(code)
        elif code is not None:
            self._cut(code)

    def lose(self) -> None:
        """Release everything: the connection was lost."""
        if self.goes_on:
            self._stop()
        else:
            self._cut(None)

    # Called by the timer

    def tick(self, now: float) -> None:
        """End the stream if it is old or its client stalls, else keep the connection alive."""
        if self.is_blocked:
            self._blocked_since = now if self._blocked_since is None else self._blocked_since
            if now - self._blocked_since >= STALL_SECONDS:
                self._end(StreamEnd.SLOW_CLIENT)
        elif now >= self._lifetime.ends_at:
            self._end(self._lifetime.end)
        else:
            sent = self._sent if self._broadcast is None else self._broadcast.sequence
            self.connection.tick(is_quiet=sent == self._sent_before)
            self._sent_before = sent

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
        self._streams: set[DirectStream] = set()

    def add(self, stream: DirectStream) -> None:
        """Check the stream once a second."""
        self._streams.add(stream)

    def discard(self, stream: DirectStream) -> None:
        """Check the stream no more."""
        self._streams.discard(stream)

    async def run(self) -> None:
        """Check the streams until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Check the streams now."""
        now = self._clock.monotonic()
        for stream in list(self._streams):
            stream.tick(now)
