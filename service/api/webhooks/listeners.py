"""Routes of a listener: the stream of its deliveries, and the outcome of each."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Annotated, Self, TypedDict

import msgspec
import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.requests import NO_NUL_PATTERN, StrictModel, json_response, read_json, require_one_of
from service.api.state import State
from service.api.streaming.direct import KEEP_ALIVE_SECONDS
from service.api.streaming.event_stream import (
    KEEP_ALIVE,
    RECONNECT_MILLISECONDS,
    Event,
    EventStream,
)
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.api.streaming.sse import CLOSING_EVENTS, EVENT_STREAM, explain_end
from service.api.webhooks.deliveries import EndpointDisabled, load_delivery
from service.api.webhooks.endpoints import WebhookNotFound, load_endpoint, path_id
from service.fanout.notices import publish_disabled
from service.problems import Conflict
from service.webhooks import delivery_log, delivery_queries, endpoints, serializers
from service.webhooks.listeners.connections import HandedDelivery, ListenerClosed, ListenerConnection
from service.webhooks.listeners.outcomes import record_outcome
from service.webhooks.models import Endpoint, EndpointKind
from service.webhooks.retry_policy import AttemptResult, ListenerFault, result_from_response

MAX_EXCERPT = 16_384
MAX_OUTCOME_SECONDS = 3_600.0


class ListenerReady(TypedDict):
    """The first event: from now on deliveries follow. An outcome that takes longer counts as a time-out."""

    endpoint_id: str
    timeout_seconds: float


class ListenerDelivery(TypedDict):
    """A delivery: the headers and the exact body that a URL would get, with the number of the attempt.

    If the `fault` of a test event is `duplicate` or `slow`, send it twice or slowly.
    """

    delivery_id: str
    attempt: int
    headers: Mapping[str, str]
    body: str
    fault: str | None


class OutcomeError(StrictModel):
    """Why there was no response."""

    code: ListenerFault
    message: Annotated[str, pydantic.Field(max_length=500, pattern=NO_NUL_PATTERN)]


class OutcomeBody(StrictModel):
    """What came back: the status of a response, or the error instead of one; `excerpt` is the start of its body.

    `attempt` is that of the delivery event; without it, the latest one. `retry_after` is the header of a 429 or 503.
    """

    model_config = require_one_of("status", "error")

    status: Annotated[int, pydantic.Field(ge=100, le=999), WholeNumber] | None = None
    seconds: Annotated[float, pydantic.Field(ge=0, le=MAX_OUTCOME_SECONDS)]
    error: OutcomeError | None = None
    excerpt: Annotated[str, pydantic.Field(max_length=MAX_EXCERPT, pattern=NO_NUL_PATTERN)] | None = None
    retry_after: Annotated[str, pydantic.Field(max_length=64, pattern=NO_NUL_PATTERN)] | None = None
    attempt: Annotated[int, pydantic.Field(ge=1, lt=2**31), WholeNumber] | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_result(self) -> Self:
        if (self.status is None) == (self.error is None):
            raise ValueError("give either status or error")
        return self

    def to_result(self) -> AttemptResult:
        """Return the result of the attempt."""
        if self.error is not None:
            return AttemptResult(
                self.seconds, error_code=self.error.code.value, error_message=self.error.message
            )
        assert self.status is not None
        return result_from_response(self.status, self.seconds, self.retry_after, self.excerpt or "")


class NotListener(Conflict):
    title = "The webhook has a URL; only a listener takes its deliveries over a stream."
    code = "not_a_listener"


class NoSuchAttempt(Conflict):
    title = "The delivery has had no such attempt; `attempts` says how many it has had."
    code = "no_such_attempt"


@declare_operation(
    "listen_to_webhook",
    Tag.WEBHOOKS,
    answers={
        200: Answer(
            "A stream without an end; its first event is `listener.ready`.",
            media_type=EVENT_STREAM,
            events={"listener.ready": ListenerReady, "delivery": ListenerDelivery} | CLOSING_EVENTS,
        )
    },
    problems=(WebhookNotFound, NotListener, EndpointDisabled),
)
async def listen(request: Request[State]) -> Response:
    """Stream the deliveries of a listener; each goes to one of its streams, and its outcome is awaited.

    A POST, as it takes deliveries from other listeners: no page of a foreign origin may do that with a user's cookie.
    """
    access = await request.state["authenticator"].stream_access(request, takes_tickets=False)
    async with request.state["database"].transaction() as session:
        endpoint = await endpoints.get(session, access.user_id, path_id(request, "id"))
        if endpoint is None:
            raise WebhookNotFound
        if endpoint.kind is not EndpointKind.LISTENER:
            raise NotListener
        if not endpoint.enabled:
            raise EndpointDisabled
        await endpoints.note_listener(session, endpoint, now=request.state["clock"].wall())
    return EventStream(explain_end(request, access, partial(_read_deliveries, request, endpoint), None))


async def _read_deliveries(
    request: Request[State], endpoint: Endpoint, lifetime: Lifetime
) -> AsyncGenerator[Event, None]:
    """Yield each delivery that this listener takes."""
    with request.state["listeners"].connect(endpoint.endpoint_id) as connection:
        seconds = request.state["egress"].total_seconds
        ready = ListenerReady(endpoint_id=endpoint.endpoint_id, timeout_seconds=seconds)
        yield _encode_event("listener.ready", ready, retry=True)
        request.state["delivery_worker"].wake()
        while True:
            lifetime.check()
            handed = await _take_delivery(connection, min(KEEP_ALIVE_SECONDS, lifetime.seconds_left))
            if handed is None:
                await _check_exists(request, endpoint)
                yield KEEP_ALIVE
            else:
                yield _encode_event("delivery", _to_message(handed))


async def _take_delivery(connection: ListenerConnection, seconds: float) -> HandedDelivery | None:
    """Wait for a delivery; None if there is none within the time. Raises StreamEnded."""
    try:
        async with asyncio.timeout(seconds):
            return await connection.next()
    except TimeoutError:
        return None
    except ListenerClosed:
        raise StreamEnded(StreamEnd.RECONNECT) from None


async def _check_exists(request: Request[State], endpoint: Endpoint) -> None:
    """End the stream of an endpoint that was deleted or disabled; its client learns why when it reconnects."""
    async with request.state["database"].reading() as session:
        current = await endpoints.get(session, endpoint.user_id, endpoint.endpoint_id)
    if current is None or not current.enabled:
        raise StreamEnded(StreamEnd.RECONNECT)


def _to_message(handed: HandedDelivery) -> ListenerDelivery:
    return {
        "delivery_id": handed.delivery.delivery_id,
        "attempt": handed.delivery.attempts,
        "headers": handed.message.headers,
        "body": handed.message.body.decode(),
        "fault": handed.delivery.fault,
    }


def _encode_event(name: str, body: object, *, retry: bool = False) -> Event:
    retry_line = b"retry: %d\n" % RECONNECT_MILLISECONDS if retry else b""
    return (b"%sevent: %s\ndata: %s\n\n" % (retry_line, name.encode(), msgspec.json.encode(body)),)


@declare_operation(
    "post_outcome",
    Tag.DELIVERIES,
    body=Body(OutcomeBody),
    answers={200: serializers.WebhookDelivery},
    problems=(NotListener, NoSuchAttempt),
)
async def post_outcome(request: Request[State]) -> Response:
    """Report what came back for a delivery of a listener: it counts as an attempt, once."""
    endpoint = await load_endpoint(request, takes_portal=False)
    if endpoint.kind is not EndpointKind.LISTENER:
        raise NotListener
    body, _ = await read_json(request, OutcomeBody)
    delivery = await load_delivery(request, endpoint)
    attempt = body.attempt or delivery.attempts
    if not 1 <= attempt <= delivery.attempts:
        raise NoSuchAttempt
    async with request.state["database"].transaction() as session:
        current = await delivery_queries.get(session, endpoint.endpoint_id, delivery.delivery_id) or delivery
        disabled = await record_outcome(
            session, current, attempt, body.to_result(), now=request.state["clock"].wall()
        )
    request.state["listeners"].settle(delivery.delivery_id, attempt)
    for gone in disabled:
        publish_disabled(request.state["hub"], gone)
    request.state["delivery_worker"].wake()
    delivery = await load_delivery(request, endpoint)
    async with request.state["database"].reading() as session:
        attempts = await delivery_log.load_attempts(session, [delivery])
    return json_response(serializers.delivery_to_dict(delivery, attempts))
