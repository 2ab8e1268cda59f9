"""What is told, to whom: written with the change, once, and conflated where it is only news for a moment."""

import pytest

from callbacks.envelope import EventType, Phase
from service.jobs import transitions
from tests.service.webhooks.webhook_harness import Shop
from tests.support.job_factory import build_change, write_changes


async def test_each_event_that_is_wanted_is_delivered_once_and_in_order(shop: Shop) -> None:
    await shop.endpoint()
    await shop.submitted("job-1")
    await shop.told(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await shop.told(EventType.PROGRESS, "job-1", 2)
    await shop.told(EventType.COMPLETED, "job-1", 3)
    await shop.sent()
    assert shop.types() == ["export.started", "export.completed"]
    assert {row["state"] for row in await shop.deliveries()} == {"delivered"}


async def test_progress_that_was_not_sent_is_replaced_where_it_lies(shop: Shop) -> None:
    await shop.endpoint(events=["export.progress"])
    await shop.submitted("job-1")
    for step in range(1, 6):
        await shop.told(EventType.PROGRESS, "job-1", step, progress=step * 10)
    assert len(await shop.deliveries()) == 1
    await shop.sent()
    assert shop.sequences() == [6]


async def test_what_one_batch_wrote_of_an_export_is_all_told(shop: Shop) -> None:
    await shop.endpoint(events=["export.started", "export.progress"])
    await shop.submitted("job-1")
    now = shop.clock.now
    await write_changes(
        shop.writer,
        build_change(EventType.STARTED, "job-1", 1, 1, phase=Phase.STARTING, now=now),
        build_change(EventType.STARTED, "job-1", 1, 2, phase=Phase.PROCESSING, now=now),
        build_change(EventType.PROGRESS, "job-1", 1, 3, phase=Phase.PROCESSING, progress=7, now=now),
    )
    told = [(row["type"], row["sequence"]) for row in await shop.deliveries()]
    assert told == [("export.started", 2), ("export.progress", 4)]


async def test_nothing_is_told_of_a_change_that_was_not_committed(shop: Shop) -> None:
    await shop.endpoint(events=["export.cancelled"])
    await shop.submitted("job-1")

    async def rolled_back() -> None:
        async with shop.database.transaction() as session:
            await transitions.cancel(session, "ada", "job-1", now=shop.clock.now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await rolled_back()
    assert await shop.deliveries() == []


async def test_others_endpoints_hear_nothing(shop: Shop) -> None:
    await shop.endpoint(user="bob")
    await shop.submitted("job-1")
    await shop.told(EventType.COMPLETED, "job-1", 1)
    await shop.sent()
    assert shop.received == []


async def test_an_endpoint_of_one_export_hears_of_that_alone(shop: Shop) -> None:
    await shop.endpoint(job_id="job-2")
    for job_id in ("job-1", "job-2"):
        await shop.submitted(job_id)
        await shop.told(EventType.COMPLETED, job_id, 1)
    await shop.sent()
    assert [row["job_id"] for row in await shop.deliveries()] == ["job-2"]
    assert shop.types() == ["export.completed"]


async def test_one_that_fails_is_overtaken_by_newer_news_and_never_sent_after_it(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    await shop.submitted("job-1")
    await shop.told(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await shop.sent()
    shop.answers(204)
    await shop.told(EventType.COMPLETED, "job-1", 2)
    shop.clock.forward(3_600)
    await shop.sent()
    assert shop.types() == ["export.started", "export.completed"]
    assert [row["state"] for row in await shop.deliveries()] == ["superseded", "delivered"]
