"""The states that WebSockets send, as messages, and as frames on the fast road."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from starlette.websockets import WebSocket

from service.api.state import State
from service.api.streaming.direct import DirectStream
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.api.streaming.subscriptions import (
    ExportRoad,
    hold_resources,
    read_changes,
    read_export,
    subscribe,
)
from service.fanout.publications import NoticeType, Publication
from service.fanout.subscribers import Subscriber
from service.jobs.filters import ExportFilter


def render_message(state: Publication) -> bytes:
    """Return the message of a state, or of an erasure."""
    return b'%b,"done":%b}' % (state.body[:-1], b"true" if state.terminal else b"false")


def is_sent(state: Publication) -> bool:
    """Tell whether sockets send a publication: they send states of exports, an erasure as the last of them."""
    return state.type is NoticeType.EXPORT_ERASED or not isinstance(state.type, NoticeType)


def _encode_message(to_frame: Callable[[bytes], bytes], state: Publication) -> bytes:
    """Return the frame of a state; none of a notice that sockets do not send."""
    return to_frame(render_message(state)) if is_sent(state) else b""


def _share_message(to_frame: Callable[[bytes], bytes], state: Publication) -> bytes:
    """Return the frame of a state, which all sockets of the user share."""
    if "messages" not in state.frames:
        state.frames["messages"] = (state.sequence, _encode_message(to_frame, state))
    return state.frames["messages"][1]


async def export_states(
    socket: WebSocket[State],
    user_id: str,
    job_id: str | None,
    lifetime: Lifetime,
    direct: DirectStream | None = None,
) -> AsyncGenerator[Publication | None, None]:
    """Yield the states of an export; raises StreamEnded after its erasure."""
    road = None
    if direct is not None:
        road = ExportRoad(direct, "messages", partial(_encode_message, direct.connection.encode))
    async with aclosing(read_export(socket, user_id, job_id, lifetime, road)) as states:
        async for state in states:
            yield state
            if state is not None and state.type is NoticeType.EXPORT_ERASED:
                raise StreamEnded(StreamEnd.ERASED)


async def user_states(
    socket: WebSocket[State],
    user_id: str,
    export_filter: ExportFilter,
    lifetime: Lifetime,
    direct: DirectStream | None = None,
) -> AsyncGenerator[Publication | None, None]:
    """Yield the stored states, then each newer one."""
    subscriber = Subscriber(export_filter)
    with hold_resources(direct) as resources:
        resources.enter_context(subscribe(socket, subscriber, user_id=user_id))
        opening = await socket.state["initial_states"].read(user_id, None, export_filter)
        for publication in (*opening.snapshot, *opening.rest):
            lifetime.check()
            if subscriber.mark_delivered(publication):
                yield publication
        if direct is not None:
            direct.follow_user(subscriber, partial(_share_message, direct.connection.encode), lifetime)
            return
        async with aclosing(read_changes(subscriber, lifetime)) as changes:
            async for change in changes:
                if change is not None and is_sent(change):
                    yield change
