"""Webhooks of exports that are edited: progress while they run, nothing after their end."""

from typing import Any

from callbacks.envelope import EventType
from service.jobs import queries, transitions
from service.jobs.serializers import JobSerializer
from service.webhooks import recovery
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness

EVERY_EVENT = [event.value for event in EventType]


async def edit(harness: WebhookHarness, **values: Any) -> None:
    async with harness.database.transaction() as session:
        job = await queries.get(session, "ada", "job-1")
        assert job is not None
        await transitions.edit(session, job, values, now=harness.clock.now)


async def test_an_edit_of_a_waiting_export_is_progress(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=EVERY_EVENT)
    await harness.submit_export("job-1")
    await harness.deliver_all()
    await edit(harness, name="b")
    await harness.deliver_all()
    assert harness.list_types() == ["export.progress", "export.progress"]
    assert harness.list_sequences() == [1, 2]
    assert b'"name":"b"' in harness.received[-1].content


async def test_after_the_end_an_edit_sends_nothing_and_the_end_still_comes(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=EVERY_EVENT)
    harness.respond_with(500)
    await harness.complete_export()
    await harness.deliver_all()
    await edit(harness, name="b", metadata='{"n":1}')
    harness.respond_with(204)
    harness.clock.advance(3_600)
    await harness.deliver_all()
    assert harness.list_types()[-1] == "export.completed"
    assert [
        row["sequence"] for row in await harness.load_deliveries() if row["type"] != "export.progress"
    ] == [2]
    before = len(harness.received)
    await edit(harness, name="c")
    harness.clock.advance(3_600)
    await harness.deliver_all()
    assert len(harness.received) == before


async def test_the_end_of_an_edited_export_is_recovered_once(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint(events=["export.completed"])
    await harness.complete_export()
    await harness.deliver_all()
    await edit(harness, name="b")
    other = await harness.create_endpoint("https://other.example/hook", events=["export.completed"])
    counts = []
    for target in (endpoint, other, other):
        async with harness.database.transaction() as session:
            count, _ = await recovery.recover_missed(
                session, target, JobSerializer(""), since=BEGIN - 1, now=harness.clock.now
            )
            counts.append(count)
        await harness.deliver_all()
    assert counts == [0, 1, 0]
    assert harness.list_types() == ["export.completed", "export.completed"]
    assert harness.list_sequences() == [2, 3]  # the second has the name
