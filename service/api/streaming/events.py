"""The events that streams send, and as frames on the fast road."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from starlette.requests import Request

from service.api.state import State
from service.api.streaming.direct import DirectStream
from service.api.streaming.event_stream import KEEP_ALIVE, Event, snapshot_event, state_event
from service.api.streaming.lifetime import Lifetime
from service.api.streaming.subscriptions import (
    ExportRoad,
    hold_resources,
    read_changes,
    read_export,
    subscribe,
)
from service.fanout.initial_states import MARGIN_SECONDS, position_from
from service.fanout.publications import Publication
from service.fanout.subscribers import Subscriber
from service.jobs.filters import ExportFilter


async def read_export_events(
    request: Request[State],
    user_id: str,
    job_id: str | None,
    direct: DirectStream | None,
    lifetime: Lifetime,
) -> AsyncGenerator[Event, None]:
    """Yield the stored state, then each newer one, until the export has ended."""
    first = True
    road = None
    if direct is not None:
        road = ExportRoad(direct, "events", partial(_encode_event, direct.connection.encode))
    async with aclosing(read_export(request, user_id, job_id, lifetime, road)) as states:
        async for state in states:
            if state is None:
                yield KEEP_ALIVE
            else:
                yield state_event(state, state.sequence, first=first)
                first = False


async def read_user_events(
    request: Request[State],
    user_id: str,
    export_filter: ExportFilter,
    direct: DirectStream | None,
    lifetime: Lifetime,
) -> AsyncGenerator[Event, None]:
    """Yield a snapshot, the states that exceed it, then each change."""
    initial_states, wall = request.state["initial_states"], request.state["clock"].wall
    subscriber = Subscriber(export_filter, wall, ends_since=wall() - MARGIN_SECONDS)
    with hold_resources(direct) as resources:
        resources.enter_context(subscribe(request, subscriber, user_id=user_id))
        since = position_from(last_event_id(request), wall())
        opening = await initial_states.read(user_id, since, export_filter)
        for publication in (*opening.snapshot, *opening.rest):
            subscriber.mark_delivered(publication)
        yield snapshot_event(opening.snapshot, _event_id(opening.position))
        for publication in opening.rest:
            yield state_event(publication, None)
        rest = initial_states.read_rest(user_id, since or 0.0, export_filter, opening.cursor)
        async for publication, position in rest:
            lifetime.check()
            if subscriber.mark_delivered(publication):
                yield state_event(publication, _event_id(position))
        if direct is not None:
            share = partial(_share_event, direct.connection.encode, subscriber)
            direct.follow_user(subscriber, share, lifetime)
            return
        async with aclosing(read_changes(subscriber, lifetime)) as changes:
            async for change in changes:
                yield (
                    KEEP_ALIVE if change is None else state_event(change, _event_id(subscriber.caught_up_at))
                )


def _encode_event(to_frame: Callable[[bytes], bytes], state: Publication) -> bytes:
    """Return the frame of an export's state."""
    (event,) = state_event(state, state.sequence)
    return to_frame(event)


def _share_event(to_frame: Callable[[bytes], bytes], subscriber: Subscriber, state: Publication) -> bytes:
    """Return the frame of a state of a user's exports; streams whose position is the same share it."""
    event_id = int(subscriber.caught_up_at * 1000)
    shared = state.frames.get("events")
    if shared is None or shared[0] != event_id:
        (event,) = state_event(state, event_id)
        shared = state.frames["events"] = (event_id, to_frame(event))
    return shared[1]


def last_event_id(request: Request[State]) -> str:
    """Return the id of the last event that the client has; some clients can't send it as a header."""
    return request.headers.get("last-event-id") or request.query_params.get("lastEventId", "")


def _event_id(position: float | None) -> int | None:
    return None if position is None else int(position * 1000)
