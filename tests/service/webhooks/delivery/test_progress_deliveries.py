"""Progress is news for a moment: the newest, three tries, and nothing of it hours later."""

from callbacks.envelope import EventType
from service.webhooks.retry_policy import PROGRESS_LIFETIME_SECONDS
from tests.service.webhooks.webhook_harness import BEGIN, Shop

PROGRESS = ["export.progress"]
HOUR = 3_600.0


async def started(shop: Shop) -> None:
    """An export whose submission was told."""
    await shop.submitted("job-1")
    await shop.sent()
    shop.received.clear()


async def states(shop: Shop) -> list[tuple[object, object]]:
    return [(row["sequence"], row["state"]) for row in await shop.deliveries()]


async def test_it_is_tried_three_times_within_seconds_and_no_more(shop: Shop) -> None:
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    shop.answers(500)
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    for seconds in (0, 2, 10, HOUR):
        shop.clock.forward(seconds)
        await shop.sent()
    assert shop.sequences() == [2, 2, 2]
    assert await states(shop) == [(1, "delivered"), (2, "failed")]


async def test_one_that_failed_is_dropped_for_the_next_one(shop: Shop) -> None:
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    shop.answers(500)
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    await shop.sent()
    shop.answers(204)
    await shop.told(EventType.PROGRESS, "job-1", 2, progress=42)
    shop.clock.forward(2)
    await shop.sent()
    assert shop.sequences() == [2, 3]
    assert await states(shop) == [(1, "delivered"), (2, "superseded"), (3, "delivered")]


async def test_one_that_could_not_be_sent_in_time_is_dropped_though_nothing_newer_is_wanted(
    shop: Shop,
) -> None:
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    await shop.told(EventType.COMPLETED, "job-1", 2)
    shop.clock.forward(PROGRESS_LIFETIME_SECONDS + 1)
    await shop.sent()
    assert shop.received == []
    assert await states(shop) == [(1, "delivered"), (2, "superseded")]


async def test_what_replaces_it_is_young_again(shop: Shop) -> None:
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    shop.clock.forward(PROGRESS_LIFETIME_SECONDS + 1)
    await shop.told(EventType.PROGRESS, "job-1", 2, progress=97)
    await shop.sent()
    assert shop.sequences() == [3]


async def test_a_consumer_that_asks_for_an_hour_is_spared_it_altogether(shop: Shop) -> None:
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    shop.answers(503, headers={"retry-after": "3600"})
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    await shop.sent()
    shop.answers(204)
    shop.clock.forward(HOUR)
    await shop.sent()
    assert shop.sequences() == [2]
    assert await states(shop) == [(1, "delivered"), (2, "failed")]


async def test_one_that_was_given_back_untried_leaves_room_for_the_next_one(shop: Shop) -> None:
    """Its lease is over and it is no unsent row any more: the next one lies beside it, and overtakes it."""
    await shop.endpoint(events=PROGRESS)
    await started(shop)
    await shop.told(EventType.PROGRESS, "job-1", 1, progress=41)
    await shop.deliverer.run_round()
    await shop.deliverer.stop()
    assert shop.received == []
    await shop.told(EventType.PROGRESS, "job-1", 2, progress=42)
    await shop.told(EventType.PROGRESS, "job-1", 3, progress=43)
    await shop.sent()
    assert shop.sequences() == [4]
    assert await states(shop) == [(1, "delivered"), (2, "superseded"), (4, "delivered")]
    cut_off = (await shop.attempts())[1]
    assert (cut_off["at"], cut_off["status"]) == (BEGIN, None)
