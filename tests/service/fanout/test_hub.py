"""Each subscriber ends on the newest state and holds at most one pending state per export."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies as st

from callbacks.envelope import EventType, Phase
from service.fanout.hub import Hub
from service.fanout.publications import Publication, publication_of
from service.fanout.subscribers import HubClosed, Subscriber
from service.jobs.filters import ExportFilter
from service.jobs.models import Job, Status
from service.jobs.serializers import JobSerializer
from tests.support.job_factory import submission_for


def state(job_id: str, sequence: int, user_id: str = "ada") -> Publication:
    return Publication(job_id, user_id, sequence, EventType.PROGRESS, b"{}")


async def take(subscriber: Subscriber, count: int) -> list[tuple[str, int]]:
    async with asyncio.timeout(5):
        publications = [await subscriber.next() for _ in range(count)]
    return [(publication.job_id, publication.sequence) for publication in publications]


async def test_a_subscriber_gets_the_newest_state_of_each_export_in_order_of_arrival() -> None:
    subscriber = Subscriber()
    for job_id, sequence in (("b", 1), ("a", 1), ("b", 2), ("c", 1), ("b", 3), ("a", 2)):
        subscriber.offer(state(job_id, sequence))
    assert await take(subscriber, 3) == [("b", 3), ("a", 2), ("c", 1)]


async def test_a_state_that_is_not_newer_than_the_delivered_one_is_dropped() -> None:
    subscriber = Subscriber()
    subscriber.offer(state("a", 5))
    assert await take(subscriber, 1) == [("a", 5)]
    for sequence in (4, 5, 1):
        subscriber.offer(state("a", sequence))
    subscriber.offer(state("b", 1))
    assert await take(subscriber, 1) == [("b", 1)]


@hypothesis.given(
    offered=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=60),
    takes=st.lists(st.booleans(), max_size=60),
)
def test_sequences_of_an_export_rise_and_end_on_the_newest(
    offered: list[tuple[str, int]], takes: list[bool]
) -> None:
    async def read() -> list[tuple[str, int]]:
        subscriber = Subscriber()
        seen = []
        for index, (job_id, sequence) in enumerate(offered):
            subscriber.offer(state(job_id, sequence))
            if takes[index : index + 1] == [True] and subscriber._pending:
                seen += await take(subscriber, 1)
            assert len(subscriber._pending) <= 3
        return seen + await take(subscriber, len(subscriber._pending))

    seen = asyncio.run(read())
    for job_id in "abc":
        sequences = [sequence for other, sequence in seen if other == job_id]
        assert sequences == sorted(set(sequences))
        newest = max((sequence for other, sequence in offered if other == job_id), default=None)
        assert (sequences[-1] if sequences else None) == newest


RUNNING = ExportFilter(frozenset({Status.PROCESSING}))


def state_of(job_id: str, sequence: int, status: Status, *, has_started: bool = True) -> Publication:
    job = Job(
        **submission_for(job_id).__dict__,
        status=status,
        phase=Phase.PROCESSING,
        runner="local",
        created_at=0.0,
        started_at=1.0 if has_started else None,
        sequence=sequence,
    )
    return replace(state(job_id, sequence), job=job)


@hypothesis.given(
    changes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Status))), max_size=40),
    takes=st.lists(st.booleans(), max_size=40),
    known_count=st.integers(0, 3),
)
def test_a_client_of_a_filter_ends_with_the_exports_that_match_and_no_older_state_of_others(
    changes: list[tuple[str, Status]], takes: list[bool], known_count: int
) -> None:
    """A client keeps what matches and drops what does not; it may know exports of an earlier stream."""
    held = dict.fromkeys("abc"[:known_count], 0)
    newest: dict[str, Publication] = {}

    async def follow() -> None:
        subscriber = Subscriber(RUNNING)

        async def receive_all() -> None:
            while subscriber._pending:
                async with asyncio.timeout(0.001):
                    publication = await subscriber.next()
                if publication.job is not None and RUNNING.matches(publication.job):
                    held[publication.job_id] = publication.sequence
                else:
                    held.pop(publication.job_id, None)

        for index, (job_id, status) in enumerate(changes):
            newest[job_id] = state_of(job_id, index + 1, status)
            subscriber.offer(newest[job_id])
            if takes[index : index + 1] == [True]:
                with suppress(TimeoutError):
                    await receive_all()
        with suppress(TimeoutError):
            await receive_all()

    asyncio.run(follow())
    for job_id, publication in newest.items():
        assert publication.job is not None
        expected = publication.sequence if RUNNING.matches(publication.job) else None
        assert held.get(job_id) == expected


async def test_a_state_outside_of_the_filter_is_sent_once_and_only_where_an_older_one_may_be_known() -> None:
    subscriber = Subscriber(RUNNING)
    subscriber.offer(state_of("a", 1, Status.CANCELLED, has_started=False))
    subscriber.offer(state_of("b", 1, Status.PROCESSING))
    assert await take(subscriber, 1) == [("b", 1)]
    subscriber.offer(state_of("b", 2, Status.COMPLETE))
    assert await take(subscriber, 1) == [("b", 2)]
    subscriber.offer(state_of("b", 3, Status.COMPLETE))
    subscriber.offer(state_of("c", 1, Status.PROCESSING))
    assert await take(subscriber, 1) == [("c", 1)]


async def test_an_end_that_was_published_while_the_first_states_were_read_is_sent_after_them() -> None:
    subscriber = Subscriber(RUNNING)
    subscriber.offer(state_of("a", 2, Status.COMPLETE))
    assert subscriber.mark_delivered(state_of("a", 1, Status.PROCESSING))
    assert await take(subscriber, 1) == [("a", 2)]


async def test_notices_pass_every_filter() -> None:
    subscriber = Subscriber(RUNNING)
    subscriber.offer(state("endpoint", 1))
    assert await take(subscriber, 1) == [("endpoint", 1)]


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"], ids=ascii)
def test_no_client_takes_a_character_of_a_text_for_the_end_of_a_line(character: str) -> None:
    job = Job(
        **submission_for("a").__dict__ | {"project_id": f"é{character}ü"},
        status=Status.PENDING,
        phase=Phase.QUEUED,
        runner="local",
        created_at=0.0,
    )
    text = publication_of(JobSerializer(""), job).body.decode()
    assert text.splitlines() == [text]
    assert json.loads(text)["project_id"] == f"é{character}ü"


def subscribe(hub: Hub, **key: str) -> Subscriber:
    subscriber = Subscriber()
    hub.subscribe(subscriber, **key)
    return subscriber


async def test_each_subscriber_gets_only_its_subscription() -> None:
    hub = Hub()
    of_job, of_ada = subscribe(hub, job_id="a"), subscribe(hub, user_id="ada")
    hub.publish(state("b", 1))
    hub.publish(state("a", 2))
    hub.publish(state("c", 1, "bob"))
    hub.close()
    assert await take(of_job, 1) == [("a", 2)]
    assert await take(of_ada, 2) == [("b", 1), ("a", 2)]
    for subscriber in (of_job, of_ada):
        with pytest.raises(HubClosed):
            await subscriber.next()


async def test_a_waiting_subscriber_wakes_on_a_state_and_on_the_close() -> None:
    hub = Hub()
    subscriber = subscribe(hub, job_id="a")
    reading = asyncio.create_task(subscriber.next())
    await asyncio.sleep(0)
    hub.publish(state("a", 1))
    assert (await reading).sequence == 1
    reading = asyncio.create_task(subscriber.next())
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises(HubClosed):
        await reading


async def test_a_subscription_after_the_close_ends_at_once() -> None:
    hub = Hub()
    hub.close()
    with pytest.raises(HubClosed):
        await subscribe(hub, job_id="a").next()


def test_the_hub_keeps_nothing_of_removed_subscribers() -> None:
    hub = Hub()
    first, second = subscribe(hub, job_id="a"), subscribe(hub, job_id="a")
    third = subscribe(hub, user_id="ada")
    assert len(hub) == 3
    hub.unsubscribe(first, job_id="a")
    hub.unsubscribe(first, job_id="a")
    hub.unsubscribe(second, job_id="a")
    hub.unsubscribe(third, user_id="ada")
    assert len(hub) == 0
    assert not hub._by_job
    assert not hub._by_user
