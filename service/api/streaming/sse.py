"""Server-Sent Events of one export, and of all of a user's.

Both begin with the stored state and always converge to the current one; both keep one undelivered state per export.
"""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypedDict

from starlette.requests import Request
from starlette.responses import Response

from callbacks.envelope import EventType
from infra.database.errors import DATABASE_ERRORS
from service.api.access.rate_limits import RateLimited
from service.api.auth import Access
from service.api.export_filters import EventStreamQuery
from service.api.exports import ExportList, load_job
from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.openapi.parameters import LAST_EVENT_ID
from service.api.requests import json_response, parse_query
from service.api.state import State
from service.api.streaming.direct import DirectStream
from service.api.streaming.event_stream import (
    RECONNECT_MILLISECONDS,
    Event,
    EventStream,
    closing_event,
    log_slow_client,
)
from service.api.streaming.events import last_event_id, read_export_events, read_user_events
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.api.streaming.subscriptions import (
    count_end,
    find_job,
    find_offered,
    hold_resources,
    hold_slot,
)
from service.fanout.notices import ErasedExport
from service.fanout.publications import NoticeType, RefreshType
from service.jobs import queries
from service.jobs.batches.totals import Batch
from service.jobs.serializers import Export
from service.jobs.timeline import Timeline, build_timeline
from service.problems import Erased, Unavailable
from service.webhooks.serializers import Webhook

MAX_SEQUENCE_DIGITS = 18
RETRY_WHEN_FULL_MILLISECONDS = 30_000
"""A client for which there was no slot reconnects after this long, up to twice as long by chance."""


EVENT_STREAM = "text/event-stream"
EXPORT_EVENTS = {event.value: Export for event in (*EventType, *RefreshType)}
ERASED_EVENT = {NoticeType.EXPORT_ERASED.value: ErasedExport}
_LAST_EVENTS = {
    StreamEnd.EXPIRED: ("stream.expired", "token_expired"),
    StreamEnd.NOT_FOUND: ("stream.not_found", "not_found"),
    StreamEnd.TOO_MANY_STREAMS: ("stream.refused", "too_many_streams"),
    StreamEnd.UNAVAILABLE: ("stream.refused", "unavailable"),
}
"""The type and the reason of the last event; a stream whose client may just reconnect has none."""


class StreamEndReason(TypedDict):
    """Why a stream ends: `token_expired`, `not_found`, `too_many_streams` or `unavailable`."""

    reason: str


CLOSING_EVENTS = {name: StreamEndReason for name, _ in _LAST_EVENTS.values()}


@declare_operation(
    "watch_export",
    Tag.STREAMS,
    credential=Credential.STREAM,
    headers=(LAST_EVENT_ID,),
    answers={
        200: Answer(
            "A stream that ends with the export; with `Accept: application/json` its timeline.",
            Timeline,
            media_type=EVENT_STREAM,
            events=EXPORT_EVENTS | ERASED_EVENT | CLOSING_EVENTS,
        ),
        204: Answer("The export has ended, and the client has seen its end: do not reconnect."),
    },
    problems=(Erased, RateLimited),
)
async def export_events(request: Request[State]) -> Response:
    """Stream one export; with `Accept: application/json`, respond with its stored timeline."""
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted and EVENT_STREAM not in accepted:
        return await _timeline(request)
    try:
        access = await request.state["authenticator"].stream_access(request)
        job = await find_job(request, access.user_id)
    except (Unavailable, *DATABASE_ERRORS):
        return _refuse_stream()
    # An edit after the end is no reason to stream the end again.
    if job is not None and job.status.is_final and _has_seen(request, job.transition_sequence):
        return Response(status_code=204)
    job_id = job.job_id if job is not None else None
    direct = _open_direct(request)
    read_events = partial(read_export_events, request, access.user_id, job_id, direct)
    return EventStream(explain_end(request, access, read_events, direct), direct)


def _has_seen(request: Request[State], sequence: int) -> bool:
    seen = last_event_id(request)
    return seen.isdecimal() and len(seen) <= MAX_SEQUENCE_DIGITS and int(seen) >= sequence


@declare_operation(
    "watch_exports",
    Tag.STREAMS,
    credential=Credential.STREAM,
    query=EventStreamQuery,
    headers=(LAST_EVENT_ID,),
    answers={
        200: Answer(
            "A stream without an end; its first event is a snapshot.",
            media_type=EVENT_STREAM,
            events={"export.snapshot": ExportList}
            | EXPORT_EVENTS
            | ERASED_EVENT
            | {NoticeType.WEBHOOK_DISABLED.value: Webhook, NoticeType.BATCH_COMPLETED.value: Batch}
            | CLOSING_EVENTS,
        )
    },
)
async def user_events(request: Request[State]) -> Response:
    """Stream the exports of the user that the query selects."""
    try:
        access = await request.state["authenticator"].stream_access(request)
    except Unavailable:
        return _refuse_stream()
    export_filter = parse_query(request, EventStreamQuery).to_filter()
    direct = _open_direct(request)
    read_events = partial(read_user_events, request, access.user_id, export_filter, direct)
    return EventStream(explain_end(request, access, read_events, direct), direct)


async def _timeline(request: Request[State]) -> Response:
    job = await load_job(request)
    async with request.state["database"].reading() as session:
        rows = await queries.list_events(session, job.job_id)
    return json_response(build_timeline(job, rows, now=request.state["clock"].wall()))


def _refuse_stream() -> Response:
    """Return a stream that only sets the reconnect delay.

    An EventSource that gets 429 or 503 would never reconnect.
    """

    async def refuse() -> AsyncGenerator[Event, None]:
        yield closing_event(*_LAST_EVENTS[StreamEnd.UNAVAILABLE])

    return EventStream(refuse())


def _open_direct(request: Request[State]) -> DirectStream | None:
    """Return a stream on the fast road if the server offers it."""
    connection = find_offered(request)
    if connection is None:
        return None

    def end(reason: StreamEnd | int | None) -> None:
        if isinstance(reason, StreamEnd):
            count_end(request, reason)
        if reason is StreamEnd.SLOW_CLIENT:
            log_slow_client()
            connection.transport.abort()
            return
        if isinstance(reason, StreamEnd) and reason in _LAST_EVENTS:
            connection.transport.write(connection.encode(b"".join(closing_event(*_LAST_EVENTS[reason]))))
        connection.end_response()

    return DirectStream(connection, request.state["stream_timer"], end)


async def explain_end(
    request: Request[State],
    access: Access,
    read_events: Callable[[Lifetime], AsyncGenerator[Event, None]],
    direct: DirectStream | None,
) -> AsyncGenerator[Event, None]:
    """Yield events until they end, then the reason if the client has to know it."""
    try:
        with hold_resources(direct) as resources:
            resources.enter_context(hold_slot(request, access.user_id))
            async with aclosing(read_events(Lifetime(access, request.state["clock"]))) as events:
                async for event in events:
                    yield event
    except StreamEnded as ended:
        count_end(request, ended.end)
        if ended.end in _LAST_EVENTS:
            yield closing_event(*_LAST_EVENTS[ended.end], retry_milliseconds=_retry_milliseconds(ended.end))
    except DATABASE_ERRORS:
        count_end(request, StreamEnd.UNAVAILABLE)
        yield closing_event(*_LAST_EVENTS[StreamEnd.UNAVAILABLE])


def _retry_milliseconds(end: StreamEnd) -> int:
    if end is not StreamEnd.TOO_MANY_STREAMS:
        return RECONNECT_MILLISECONDS
    return RETRY_WHEN_FULL_MILLISECONDS + int(random.random() * RETRY_WHEN_FULL_MILLISECONDS)  # noqa: S311 - no secret
