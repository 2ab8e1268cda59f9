"""A state that is sent again because its `queue` has changed: no reader takes it for another state or misses one."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis
from hypothesis import strategies as st

from callbacks.envelope import EventType
from service.fanout.broadcast import Broadcast
from service.fanout.hub import Hub
from service.fanout.publications import Publication, RefreshType, as_refresh
from service.fanout.subscribers import Subscriber
from service.jobs.filters import ExportFilter
from service.jobs.models import Status
from tests.service.fanout.test_hub import state_of


def state(sequence: int, body: str = "") -> Publication:
    return Publication("a", "ada", sequence, EventType.PROGRESS, body.encode())


def encode(publication: Publication) -> bytes:
    return b"%b %d %b" % (publication.type.encode(), publication.sequence, publication.body)


class FakeReader:
    """A stream on the fast road; remembers the frames that it got."""

    def __init__(self) -> None:
        self.is_blocked = False
        self.frames: list[tuple[str, int, str]] = []
        self.write: Callable[[bytes], None] = self._keep

    def _keep(self, frame: bytes) -> None:
        kind, sequence, body = frame.decode().split(" ")
        self.frames.append((kind, int(sequence), body))

    def finish(self, last: Publication) -> None: ...

    def close(self) -> None: ...


acts = st.lists(st.sampled_from(["state", "refresh", "old refresh", "pause", "resume"]), max_size=40)


def check_frames(frames: list[tuple[str, int, str]], newest: tuple[int, str]) -> None:
    sequences = [sequence for _, sequence, _ in frames]
    assert sequences == sorted(sequences)
    states = [sequence for kind, sequence, _ in frames if kind != RefreshType.QUEUE]
    assert states == sorted(set(states)), "each state is announced once, by its own type"
    for index, (kind, sequence, _) in enumerate(frames):
        assert kind != RefreshType.QUEUE or frames[index - 1][1] == sequence, "a refresh is of a state it has"
    assert frames[-1][1:] == newest


@hypothesis.given(acts)
def test_readers_of_a_broadcast_end_with_the_newest_content_of_the_newest_state(script: list[str]) -> None:
    broadcast, reader = Broadcast(encode), FakeReader()
    sequence, body = 1, "0"
    broadcast.add(reader, state(sequence, body))
    reader.frames.append(("export.progress", 1, "0"))
    for number, act in enumerate([*script, "resume"], start=1):
        if act == "state":
            sequence, body = sequence + 1, str(number)
            broadcast.offer(state(sequence, body))
        elif act == "refresh":
            body = str(number)
            broadcast.refresh(as_refresh(state(sequence, body)))
        elif act == "old refresh":
            broadcast.refresh(as_refresh(state(sequence - 1, "old")))
        elif act == "pause":
            reader.is_blocked = True
            broadcast.pause(reader)
        else:
            reader.is_blocked = False
            broadcast.resume(reader)
    check_frames(reader.frames, (sequence, body))


def test_a_reader_that_a_refresh_blocks_gets_it_once() -> None:
    broadcast, reader = Broadcast(encode), FakeReader()

    def keep_and_block(frame: bytes) -> None:
        reader._keep(frame)
        reader.is_blocked = True
        broadcast.pause(reader)

    reader.write = keep_and_block
    broadcast.add(reader, state(1))
    for body in ("new", "newer"):
        broadcast.refresh(as_refresh(state(1, body)))
        reader.is_blocked = False
        broadcast.resume(reader)
    assert reader.frames == [("export.queue", 1, "new"), ("export.queue", 1, "newer")]


@hypothesis.given(acts)
def test_subscribers_end_with_the_newest_content_of_the_newest_state(script: list[str]) -> None:
    async def follow() -> list[tuple[str, int, str]]:
        subscriber, frames = Subscriber(), []
        sequence, body = 1, "0"
        subscriber.offer(state(sequence, body))
        for number, act in enumerate([*script, "resume"], start=1):
            if act == "state":
                sequence, body = sequence + 1, str(number)
                subscriber.offer(state(sequence, body))
            elif act == "refresh":
                body = str(number)
                subscriber.refresh(as_refresh(state(sequence, body)))
            elif act == "old refresh":
                subscriber.refresh(as_refresh(state(sequence - 1, "old")))
            elif act == "resume":
                while subscriber._pending:
                    taken = await subscriber.next()
                    frames.append((str(taken.type), taken.sequence, taken.body.decode()))
        check_frames(frames, (sequence, body))
        return frames

    asyncio.run(follow())


def test_a_filter_that_hides_a_state_hides_its_refresh() -> None:
    hub, subscriber = Hub(), Subscriber(ExportFilter(frozenset({Status.PENDING}), project_id="7"))
    hub.subscribe(subscriber, user_id="ada")
    hidden = state_of("a", 1, Status.PENDING, has_started=False)
    hub.publish(hidden)
    hub.refresh(as_refresh(hidden))
    subscriber._pending.pop("a", None)
    hub.refresh(as_refresh(hidden))
    assert subscriber._pending == {}


def test_a_stream_that_opens_later_begins_with_the_newest_content() -> None:
    hub = Hub()
    hub.subscribe(Subscriber(), job_id="a")
    pending = state_of("a", 3, Status.PENDING)
    hub.publish(pending)
    hub.refresh(as_refresh(replace(pending, body=b"new")))
    hub.refresh(as_refresh(replace(pending, sequence=2, body=b"old")))
    newest: Any = hub.find_newest("a", "ada")
    assert (newest.body, newest.type, newest.sequence) == (b"new", pending.type, 3)
    assert [job.job_id for job in hub.list_pending()] == ["a"]
