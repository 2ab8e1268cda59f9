"""Server-Sent Events as bytes, and the response that carries them.

One coroutine sends everything, keep-alives too: nothing comes between the pieces of an event. A client that leaves
is told to whoever makes the events; nothing is cancelled for it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.hub import Publication

Event = Iterable[bytes]
"""One event, or a line between two, in pieces that are sent one by one."""

SEND_TIMEOUT_SECONDS = 30.0
RECONNECT_MILLISECONDS = 2_000
CHUNK_BYTES = 16 * 1024
"""What is handed on at a time: a reader who takes nothing costs no more than a few of these."""
KEEP_ALIVE: Event = (b": keep-alive\n",)
"""A line of its own: a blank one after it would make some parsers dispatch an empty message."""

logger = logging.getLogger("framehook.streams")

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY = b"retry: %d\n"
_ID = b"id: %d\n"


class EventStream(StreamingResponse):
    """Sends events until there are no more, or the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Event, None], leave: Callable[[], None]) -> None:
        """`leave` is called when the client has left; `events` should end soon after."""
        super().__init__((), headers=_HEADERS)
        self._events = events
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            watching = asyncio.create_task(self._watch(receive))
            try:
                await self._send_events(send)
            except TimeoutError:
                logger.info("a reader took nothing for %.0f s: its stream is cut off", SEND_TIMEOUT_SECONDS)
                return
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        """Send no more at a time than the client reads, and let others have their turn in between."""
        async with aclosing(self._events) as events:
            async for event in events:
                for piece in event:
                    async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    await asyncio.sleep(0)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()


def state_event(publication: Publication, event_id: int | None, *, first: bool = False) -> Event:
    """A state of an export, or a notice, as an event; the first of a stream says when to come back."""
    retry = _RETRY % RECONNECT_MILLISECONDS if first else b""
    named = _ID % event_id if event_id is not None else b""
    return (b"%s%sevent: %s\ndata: %s\n\n" % (retry, named, publication.type.encode(), publication.body),)


def snapshot_event(publications: Iterable[Publication], event_id: int | None) -> Iterator[bytes]:
    """One event with all these states: encoded states are shared, and joined only to be sent."""
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
    """Why a stream ends that its reader may want to open again, and when it may."""
    body = msgspec.json.encode({"reason": reason})
    return (b"%sevent: %s\ndata: %s\n\n" % (_RETRY % retry_milliseconds, name.encode(), body),)
