"""Read the deliveries of a listener from a stream that is opened again whenever it ends."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx

from framehook.errors import Unreachable, describe_error, problem_from, token_expiry_error
from framehook.http_client import RETRYABLE_STATUSES, HttpClient, retry_after_seconds
from framehook.streams.eventsource import Event, EventTooLarge, Parser, ReconnectBackoff
from framehook.streams.stream_reader import MAX_OUTAGE_SECONDS, STREAM_SILENCE_SECONDS, OnDisconnect
from framehook.webhook_models import ListenerDelivery, ListenerReady

OnReady = Callable[[ListenerReady], object]
"""Callback for each time that the listener is connected."""


@dataclass
class ListenerStream:
    """The stream of one listener."""

    http: HttpClient
    path: str
    on_ready: OnReady
    on_disconnect: OnDisconnect
    _backoff: ReconnectBackoff = field(init=False)
    _requested_seconds: float = 0.0
    _has_renewed: bool = False

    def __post_init__(self) -> None:
        self._backoff = ReconnectBackoff(self.http.transport.jitter)

    async def read(self) -> AsyncGenerator[ListenerDelivery, None]:
        """Yield deliveries as they arrive, without end.

        Raises Unauthenticated if the token expires and can't be renewed, NotFound once the endpoint was deleted,
        Unreachable after ten minutes without a response.
        """
        while True:
            self._requested_seconds, reason = 0.0, "the service closed the stream"
            try:
                async with aclosing(self._read_stream()) as deliveries:
                    async for delivery in deliveries:
                        yield delivery
            except httpx.RequestError as error:
                reason = describe_error(error)
            if self._backoff.waited_seconds > MAX_OUTAGE_SECONDS:
                raise Unreachable(f"the service has been unreachable for too long: {reason}")
            self.on_disconnect(reason)
            await self.http.transport.sleep(self._backoff.next_delay(self._requested_seconds))

    async def _read_stream(self) -> AsyncGenerator[ListenerDelivery, None]:
        """Yield what one stream carries; nothing if it can't be opened now."""
        accept = {"Accept": "text/event-stream"}
        opened = self.http.open(self.path, method="POST", headers=accept, read_seconds=STREAM_SILENCE_SECONDS)
        async with opened as response:
            if not await self._is_open(response):
                return
            parser = Parser()
            try:
                async for chunk in self.http.transport.read_chunks(response):
                    for event in parser.feed(chunk):
                        if event.type == "delivery":
                            yield self.http.decode(event.data, ListenerDelivery)
                        else:
                            self._note_event(event, parser)
            except EventTooLarge as error:
                raise self.http.response_error() from error

    async def _is_open(self, response: httpx.Response) -> bool:
        """Tell whether a response carries deliveries; raises Problem if it never will."""
        if response.status_code in RETRYABLE_STATUSES:
            self._requested_seconds = retry_after_seconds(response) or 0.0
            return False
        may_renew = self.http.token.can_renew and not self._has_renewed
        if response.status_code == httpx.codes.UNAUTHORIZED and may_renew:
            self._has_renewed = True
            self.http.token.forget()
            return False
        if not response.is_success:
            raise problem_from(await self.http.read_whole(response))
        return True

    def _note_event(self, event: Event, parser: Parser) -> None:
        if event.type == "listener.ready":
            self._has_renewed = False
            self._backoff.reset(parser.retry_milliseconds)
            self.on_ready(self.http.decode(event.data, ListenerReady))
        elif event.type == "stream.expired":
            if not self.http.token.can_renew:
                raise token_expiry_error()
            self.http.token.forget()
