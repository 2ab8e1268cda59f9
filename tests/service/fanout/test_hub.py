"""Each subscriber ends on the newest state and holds at most one pending state per export."""

import asyncio

import hypothesis
import pytest
from hypothesis import strategies as st

from callbacks.envelope import EventType
from service.fanout.hub import Hub, HubClosed, Publication, Subscriber


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


async def test_each_subscriber_gets_only_its_subscription() -> None:
    hub = Hub()
    of_job, of_ada = hub.subscribe(job_id="a"), hub.subscribe(user_id="ada")
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
    subscriber = hub.subscribe(job_id="a")
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
        await hub.subscribe(job_id="a").next()


def test_the_hub_keeps_nothing_of_removed_subscribers() -> None:
    hub = Hub()
    first, second = hub.subscribe(job_id="a"), hub.subscribe(job_id="a")
    third = hub.subscribe(user_id="ada")
    assert len(hub) == 3
    hub.unsubscribe(first, job_id="a")
    hub.unsubscribe(first, job_id="a")
    hub.unsubscribe(second, job_id="a")
    hub.unsubscribe(third, user_id="ada")
    assert len(hub) == 0
    assert not hub._by_job
    assert not hub._by_user
