"""Server-Sent Events as bytes, and the response that carries them.

One coroutine sends everything, keep-alives too, so that nothing comes between the chunks of an event.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, suppress

import anyio
import msgspec
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

from service.api.streaming.direct import ConnectionCut, DirectStream
from service.fanout.publications import Publication

Event = Iterable[bytes]
"""One event, or a comment line between two, in chunks that are sent one by one."""

SEND_TIMEOUT_SECONDS = 30.0
SHUTDOWN_GRACE_SECONDS = 5.0
RECONNECT_MILLISECONDS = 2_000
CHUNK_BYTES = 16 * 1024
"""How much is passed on at a time: a client that reads nothing costs a few of these at most."""
KEEP_ALIVE: Event = (b": keep-alive\n",)
"""A single line: a blank one after it would make some parsers dispatch an empty message."""

logger = logging.getLogger("framehook.streams")

_RETRY = b"retry: %d\n"
_ID = b"id: %d\n"


class EventStream(EventSourceResponse):
    """Sends events until they end, the client disconnects, or it reads nothing for too long."""

    def __init__(self, events: AsyncGenerator[Event, None], direct: DirectStream | None = None) -> None:
        self._direct = direct
        super().__init__(
            _chunks(events),
            sep="\n",
            ping=0,  # the library's own end with a blank line and may come between the chunks of an event
            send_timeout=SEND_TIMEOUT_SECONDS,
            # The hub ends every stream before the server stops; the library's shutdown is the last resort.
            shutdown_event=anyio.Event(),
            shutdown_grace_period=SHUTDOWN_GRACE_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._direct is None:
                await super().__call__(scope, receive, send)
            else:
                await self._send_directly(self._direct, send)
        except SendTimeoutError:
            log_slow_client()

    async def _send_directly(self, direct: DirectStream, send: Send) -> None:
        """Send the first events; the hub writes the others, unless the stream has ended already."""
        with suppress(ConnectionCut), direct:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in self.body_iterator:
                body: Message = {"type": "http.response.body", "body": chunk, "more_body": True}
                await self._send_with_timeout(send, body)
            if not direct.goes_on:
                await send({"type": "http.response.body", "body": b""})


async def _chunks(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """Yield chunks as the client reads them, and let other tasks run in between."""
    async with aclosing(events):
        async for event in events:
            for chunk in event:
                yield chunk
                await asyncio.sleep(0)


def log_slow_client() -> None:
    """Log that a stream is closed because its client reads nothing."""
    logger.info("a client read nothing for %.0f s; its stream is closed", SEND_TIMEOUT_SECONDS)


def state_event(publication: Publication, event_id: int | None, *, first: bool = False) -> Event:
    """Encode a state of an export or a notice.

    The first event of a stream sets the reconnect delay.
    """
    retry = _RETRY % RECONNECT_MILLISECONDS if first else b""
    id_line = _ID % event_id if event_id is not None else b""
    return (b"%s%sevent: %s\ndata: %s\n\n" % (retry, id_line, publication.type.encode(), publication.body),)


def snapshot_event(publications: Iterable[Publication], event_id: int | None) -> Iterator[bytes]:
    """Encode one event with all these states.

    Their encoded bytes are shared by all subscribers.
    """
    chunk = bytearray(_RETRY % RECONNECT_MILLISECONDS)
    chunk += _ID % event_id if event_id is not None else b""
    chunk += b'event: export.snapshot\ndata: {"exports":['
    separator = b""
    for publication in publications:
        chunk += separator + publication.body
        separator = b","
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk + b"]}\n\n")


def closing_event(name: str, reason: str, *, retry_milliseconds: int = RECONNECT_MILLISECONDS) -> Event:
    """Encode the last event of a stream: why it ends, and when the client may connect again."""
    body = msgspec.json.encode({"reason": reason})
    return (b"%sevent: %s\ndata: %s\n\n" % (_RETRY % retry_milliseconds, name.encode(), body),)
