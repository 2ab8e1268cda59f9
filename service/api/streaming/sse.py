"""Server-Sent Events of one export, and of all of a user's.

Both begin with the stored state and always converge to the current one; both keep one undelivered state per export.
"""

import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict

from starlette.requests import Request
from starlette.responses import Response

from callbacks.envelope import EventType
from infra.database.errors import DATABASE_ERRORS
from service.api.auth import Access
from service.api.exports import ExportList, load_job
from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.openapi.parameters import LAST_EVENT_ID
from service.api.requests import json_response
from service.api.state import State
from service.api.streaming.event_stream import (
    KEEP_ALIVE,
    Event,
    EventStream,
    closing_event,
    snapshot_event,
    state_event,
)
from service.api.streaming.subscriptions import (
    Lifetime,
    TooManyStreams,
    find_job,
    read_changes,
    read_stored,
    subscribe,
)
from service.fanout.hub import NoticeType, Subscriber
from service.fanout.initial_states import position_from
from service.jobs import queries
from service.jobs.serializers import Export
from service.jobs.timeline import Timeline, build_timeline
from service.problems import Unavailable
from service.webhooks.serializers import Webhook

MAX_SEQUENCE_DIGITS = 18
STREAM_REFUSED, STREAM_EXPIRED = "stream.refused", "stream.expired"
RETRY_WHEN_FULL_MILLISECONDS = 30_000
"""A client for which there was no slot reconnects after this long, up to twice as long by chance."""


EVENT_STREAM = "text/event-stream"
EXPORT_EVENTS = {event.value: Export for event in EventType}


class StreamEnd(TypedDict):
    """Why a stream ends: `token_expired`, `too_many_streams` or `unavailable`."""

    reason: str


CLOSING_EVENTS = {STREAM_EXPIRED: StreamEnd, STREAM_REFUSED: StreamEnd}


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
            events=EXPORT_EVENTS | CLOSING_EVENTS,
        ),
        204: Answer("The export has ended, and the client has seen its end: do not reconnect."),
    },
)
async def export_events(request: Request[State]) -> Response:
    """Stream one export; with `Accept: application/json`, respond with its stored timeline."""
    if "application/json" in request.headers.get("accept", ""):
        return await _timeline(request)
    try:
        access = await request.state["authenticator"].stream_access(request)
        job = await find_job(request, access.user_id)
    except (Unavailable, *DATABASE_ERRORS):
        return _refusal_stream("unavailable")
    if job.status.is_final and _has_seen(request, job.sequence):
        return Response(status_code=204)
    return _stream(request, access, job.job_id)


def _has_seen(request: Request[State], sequence: int) -> bool:
    last_event_id = request.headers.get("last-event-id", "")
    if not last_event_id.isdecimal() or len(last_event_id) > MAX_SEQUENCE_DIGITS:
        return False
    return int(last_event_id) >= sequence


@declare_operation(
    "watch_exports",
    Tag.STREAMS,
    credential=Credential.STREAM,
    headers=(LAST_EVENT_ID,),
    answers={
        200: Answer(
            "A stream without an end; its first event is a snapshot.",
            media_type=EVENT_STREAM,
            events={"export.snapshot": ExportList}
            | EXPORT_EVENTS
            | {NoticeType.WEBHOOK_DISABLED.value: Webhook}
            | CLOSING_EVENTS,
        )
    },
)
async def user_events(request: Request[State]) -> Response:
    """Stream all exports of the user."""
    try:
        access = await request.state["authenticator"].stream_access(request)
    except Unavailable:
        return _refusal_stream("unavailable")
    return _stream(request, access, None)


async def _timeline(request: Request[State]) -> Response:
    job = await load_job(request)
    async with request.state["database"].reading() as session:
        rows = await queries.list_events(session, job.job_id)
    state = request.state
    gpu = state["gpu"] if job.runner == state["runner_name"] else None  # the setting may have changed since
    return json_response(build_timeline(job, rows, gpu=gpu, now=time.time()))


def _stream(request: Request[State], access: Access, job_id: str | None) -> Response:
    return EventStream(_events(request, access, job_id, Subscriber()))


def _refusal_stream(reason: str) -> Response:
    """Return a stream that only sets the reconnect delay.

    An EventSource that gets 429 or 503 would never reconnect.
    """

    async def events() -> AsyncGenerator[Event, None]:
        yield closing_event(STREAM_REFUSED, reason)

    return EventStream(events())


async def _events(
    request: Request[State], access: Access, job_id: str | None, subscriber: Subscriber
) -> AsyncGenerator[Event, None]:
    lifetime = Lifetime(access)
    try:
        with subscribe(request, access.user_id, job_id, subscriber):
            async with aclosing(_states(request, access.user_id, job_id, subscriber, lifetime)) as states:
                async for event in states:
                    yield event
                    if lifetime.is_over:
                        break
    except TooManyStreams:
        pause = RETRY_WHEN_FULL_MILLISECONDS + int(random.random() * RETRY_WHEN_FULL_MILLISECONDS)  # noqa: S311 - no secret
        yield closing_event(STREAM_REFUSED, "too_many_streams", retry_milliseconds=pause)
    except DATABASE_ERRORS:
        yield closing_event(STREAM_REFUSED, "unavailable")
    else:
        if lifetime.has_expired:
            yield closing_event(STREAM_EXPIRED, "token_expired")


def _states(
    request: Request[State], user_id: str, job_id: str | None, subscriber: Subscriber, lifetime: Lifetime
) -> AsyncGenerator[Event, None]:
    if job_id is None:
        return _user_states(request, user_id, subscriber, lifetime)
    return _export_states(request, user_id, job_id, subscriber, lifetime)


async def _export_states(
    request: Request[State], user_id: str, job_id: str, subscriber: Subscriber, lifetime: Lifetime
) -> AsyncGenerator[Event, None]:
    """Yield the stored state, then each newer one, until the export has ended."""
    stored = await read_stored(request, user_id, job_id)
    if stored is not None:
        subscriber.offer(stored)
    first = True
    async for publication in read_changes(subscriber, lifetime):
        if publication is None:
            yield KEEP_ALIVE
            continue
        yield state_event(publication, publication.sequence, first=first)
        first = False
        if publication.terminal:
            return


async def _user_states(
    request: Request[State], user_id: str, subscriber: Subscriber, lifetime: Lifetime
) -> AsyncGenerator[Event, None]:
    """Yield a snapshot, the states that exceed it, then each change."""
    initial_states = request.state["initial_states"]
    since = position_from(request.headers.get("last-event-id", ""), time.time())
    opening = await initial_states.read(user_id, since)
    for publication in (*opening.snapshot, *opening.rest):
        subscriber.mark_delivered(publication)
    yield snapshot_event(opening.snapshot, _event_id(opening.position))
    for publication in opening.rest:
        yield state_event(publication, None)
    async for publication, position in initial_states.read_rest(user_id, since or 0.0, opening.cursor):
        if subscriber.mark_delivered(publication):
            yield state_event(publication, _event_id(position))
    async for change in read_changes(subscriber, lifetime):
        yield KEEP_ALIVE if change is None else state_event(change, _event_id(subscriber.caught_up_at))


def _event_id(position: float | None) -> int | None:
    return None if position is None else int(position * 1000)
