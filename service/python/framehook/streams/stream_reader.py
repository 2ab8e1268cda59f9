"""Read states from a stream that is opened again whenever it ends, or by polling where streams do not pass."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx

from framehook.errors import (
    QuotaExceeded,
    Unavailable,
    Unreachable,
    describe_error,
    problem_from,
    token_expiry_error,
)
from framehook.http_client import RETRYABLE_STATUSES, HttpClient, Query, retry_after_seconds
from framehook.models import Export, Exports
from framehook.streams.eventsource import Event, EventTooLarge, Parser, ReconnectBackoff

STREAM_SILENCE_SECONDS = 45.0  # streams carry a comment every 15 s: with three missed the connection is dead
FIRST_SILENCE_SECONDS = 20.0  # until a stream has carried something, a proxy may hold all of it back
MAX_MUTE_STREAMS = 2
POLL_SECONDS = 2.0
MAX_POLLS = 60
"""How often to poll before a stream is tried again."""
MAX_OUTAGE_SECONDS = 600.0

_STATE_EVENTS = frozenset(
    {"export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"}
)
_QUEUE_EVENT = "export.queue"
_SNAPSHOT, _STREAM_EXPIRED, _ABOUT_STREAM = "export.snapshot", "stream.expired", "stream."

OnDisconnect = Callable[[str], object]
"""Callback with the reason of each lost connection."""


@dataclass(frozen=True)
class States:
    """States that arrived together; a snapshot has all that the caller should know of.

    In a refresh nothing but `queue` has changed, and `sequence` is the same.
    """

    exports: Sequence[Export]
    is_snapshot: bool = False
    is_refresh: bool = False


@dataclass
class StreamReader:
    """Reader of one stream; `poll` loads the same states without it, `deadline` is on the monotonic clock."""

    http: HttpClient
    path: str
    poll: Callable[[], Awaitable[States]]
    query: Query = field(default_factory=dict)
    on_disconnect: OnDisconnect = lambda _reason: None
    deadline: float | None = None
    _last_event_id: str = ""
    _has_event: bool = False  # in the present round
    _is_explained: bool = False  # the service has said why this stream carries nothing
    _is_proven: bool = False  # some stream has carried something
    _has_renewed: bool = False
    _mute_streams: int = 0
    _polls: int = 0
    _requested_seconds: float = 0.0

    async def read(self) -> AsyncGenerator[States, None]:
        """Yield states as they arrive, without end; a state may come again after a newer one.

        Raises Unauthenticated if the token expires and can't be renewed, Unreachable after ten minutes without a
        response, TimeoutError at the deadline.
        """
        backoff = ReconnectBackoff(self.http.transport.jitter)
        while True:
            self._has_event, self._is_explained, self._requested_seconds = False, False, 0.0
            is_polling, reason = not self._can_stream(), "the service closed the stream"
            is_away = False
            try:
                if not is_polling:
                    async with aclosing(self._read_stream(backoff)) as arrivals:
                        async for states in arrivals:
                            yield states
            except httpx.RequestError as error:
                reason = describe_error(error)
                is_away = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            if not (self._has_event or is_away):
                try:
                    yield await self.poll()
                except (Unreachable, Unavailable, QuotaExceeded) as error:
                    reason = str(error)
                else:
                    self._count_poll(is_polling)
                    backoff.reset()
            await self._wait(backoff, is_polling, reason)

    def _can_stream(self) -> bool:
        remaining_seconds = self._check_deadline()
        return self._mute_streams < MAX_MUTE_STREAMS and remaining_seconds > FIRST_SILENCE_SECONDS

    def _count_poll(self, is_polling: bool) -> None:
        """Note that the service responds, while its stream may have carried nothing."""
        if not is_polling:
            self._mute_streams += not self._is_explained
            self._polls = 0
        self._polls += 1
        if self._polls >= MAX_POLLS:
            self._mute_streams, self._polls = MAX_MUTE_STREAMS - 1, 0

    async def _wait(self, backoff: ReconnectBackoff, is_polling: bool, reason: str) -> None:
        if backoff.waited_seconds > MAX_OUTAGE_SECONDS:
            raise Unreachable(f"the service has been unreachable for too long: {reason}")
        is_served = is_polling and backoff.waited_seconds == 0
        if not is_served:
            self.on_disconnect(reason)
        seconds = POLL_SECONDS if is_served else backoff.next_delay(self._requested_seconds)
        await self.http.transport.sleep(min(seconds, self._check_deadline()))

    async def _read_stream(self, backoff: ReconnectBackoff) -> AsyncGenerator[States, None]:
        """Yield what one stream carries; nothing if it can't be opened now."""
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        seconds = STREAM_SILENCE_SECONDS if self._is_proven else FIRST_SILENCE_SECONDS
        async with self.http.open(
            self.path, query=self.query, headers=headers, read_seconds=seconds
        ) as response:
            if not await self._is_stream(response):
                return
            parser = Parser()
            try:
                async for chunk in self.http.transport.read_chunks(response):
                    self._check_deadline()
                    for event in parser.feed(chunk):
                        backoff.reset(parser.retry_milliseconds)
                        states = self._states_from(event)
                        if states is not None:
                            self._note_event(event)
                            yield states
            except EventTooLarge as error:
                raise self.http.response_error() from error

    async def _is_stream(self, response: httpx.Response) -> bool:
        """Tell whether a response carries events; raises Problem if it never will."""
        status = response.status_code
        if status in RETRYABLE_STATUSES:
            self._requested_seconds = retry_after_seconds(response) or 0.0
            return False
        if status == httpx.codes.UNAUTHORIZED and self.http.token.can_renew and not self._has_renewed:
            self._has_renewed = self._is_explained = True
            self.http.token.forget()
            return False
        if not response.is_success:
            raise problem_from(await self.http.read_whole(response))
        content_type: str = response.headers.get("content-type", "")
        return content_type.startswith("text/event-stream")

    def _states_from(self, event: Event) -> States | None:
        if event.type == _SNAPSHOT:
            return States(self.http.decode(event.data, Exports).exports, is_snapshot=True)
        if event.type in _STATE_EVENTS:
            return States((self.http.decode(event.data, Export),))
        if event.type == _QUEUE_EVENT:
            return States((self.http.decode(event.data, Export),), is_refresh=True)
        if event.type == _STREAM_EXPIRED:
            if not self.http.token.can_renew:
                raise token_expiry_error()
            self.http.token.forget()
        self._is_explained = event.type.startswith(_ABOUT_STREAM)
        return None

    def _note_event(self, event: Event) -> None:
        self._has_event, self._is_proven, self._has_renewed, self._mute_streams = True, True, False, 0
        self._last_event_id = event.id

    def _check_deadline(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError when it has passed."""
        if self.deadline is None:
            return float("inf")
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the export has not ended in time; it is still running")
        return seconds
