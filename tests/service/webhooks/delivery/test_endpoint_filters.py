"""An endpoint with a filter gets the events of the exports that match it, on both ways to the outbox."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from callbacks.envelope import EventType, Phase
from service.jobs import queries, transitions
from service.jobs.filters import ExportFilter, encode_filter
from service.jobs.models import Status
from service.jobs.serializers import JobSerializer
from service.webhooks import recovery
from tests.service.webhooks.webhook_harness import BEGIN, URL, WebhookHarness
from tests.support.job_factory import submission_for

EVERY_EVENT = [event.value for event in EventType]
FILTERS = {
    "all": ExportFilter(),
    "status": ExportFilter(statuses=frozenset({Status.COMPLETE, Status.CANCELLED})),
    "type": ExportFilter(types=frozenset({"overlay"})),
    "project": ExportFilter(project_id="7"),
    "metadata": ExportFilter(metadata=(("channel", "news"), ("n", "5"))),
    "after": ExportFilter(created_after=BEGIN + 10),
    "before": ExportFilter(created_before=BEGIN + 10),
    "several": ExportFilter(frozenset({Status.PENDING}), project_id="7", metadata=(("n", "5"),)),
}
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "overlay": {"type": "overlay", "project_id": "7"},
    "news": {"metadata": '{"channel":"news","n":5}', "project_id": "7"},
    "text": {"metadata": '{"n":"5","channel":"news"}'},
    "other": {"metadata": '{"channel":"news","n":50}', "project_id": "70"},
}


async def submit(harness: WebhookHarness, job_id: str, **fields: Any) -> None:
    submission = replace(submission_for(job_id), **fields)
    async with harness.database.transaction() as session:
        await transitions.submit(session, submission, runner="local", attempt_limit=3, now=harness.clock.now)


async def play(harness: WebhookHarness) -> None:
    """Submit, cancel, start, advance, complete and fail exports: changes of the service and of callbacks."""
    for number, (job_id, fields) in enumerate(JOBS.items()):
        await submit(harness, job_id, **fields)
        await submit(harness, f"{job_id}-cancelled", **fields)
        await harness.deliver_all()
        async with harness.database.transaction() as session:
            await transitions.cancel(session, "ada", f"{job_id}-cancelled", now=harness.clock.now)
        end = EventType.COMPLETED if number % 2 else EventType.FAILED
        for step, event in enumerate((EventType.STARTED, EventType.PROGRESS, end), 1):
            phase = Phase.STARTING if event is EventType.STARTED else Phase.PROCESSING
            await harness.report(event, job_id, step, phase=phase)
            await harness.deliver_all()
        harness.clock.advance(5)


def list_received(harness: WebhookHarness, url: str) -> list[tuple[str, str, int]]:
    requests = [request for request in harness.received if str(request.url) == url]
    events = [msgspec.json.decode(request.content) for request in requests]
    return [(event["type"], event["data"]["job_id"], event["data"]["sequence"]) for event in events]


async def test_each_filter_selects_what_it_selects_elsewhere(harness: WebhookHarness) -> None:
    urls = {name: f"https://{name}.example/hook" for name in FILTERS}
    for name, export_filter in FILTERS.items():
        column = encode_filter(export_filter)
        await harness.create_endpoint(urls[name], events=EVERY_EVENT, export_filter=column)
    await play(harness)
    every = [request for request in harness.received if str(request.url) == urls["all"]]
    states = [msgspec.json.decode(request.content) for request in every]
    assert len(states) > 20
    assert {event["type"] for event in states} == set(EVERY_EVENT)
    for name, export_filter in FILTERS.items():
        expected = [
            (event["type"], event["data"]["job_id"], event["data"]["sequence"])
            for event in states
            if is_wanted(event["data"], export_filter)
        ]
        assert sorted(list_received(harness, urls[name])) == sorted(expected), name
        assert expected, name


def is_wanted(job: dict[str, Any], export_filter: ExportFilter) -> bool:
    """Say in the plainest way what the filter of an endpoint has to say."""
    text = {key: str(value) for key, value in job["metadata"].items()}
    created_at = datetime.fromisoformat(job["created_at"]).timestamp()
    conditions = [
        not export_filter.statuses or job["status"] in export_filter.statuses,
        not export_filter.types or job["type"] in export_filter.types,
        export_filter.project_id in (None, job["project_id"]),
        all(text.get(key) == value for key, value in export_filter.metadata),
        export_filter.created_after is None or created_at >= export_filter.created_after,
        export_filter.created_before is None or created_at < export_filter.created_before,
    ]
    return all(conditions)


@pytest.mark.parametrize("events", [["export.completed"], ["export.progress"]], ids=["an end", "progress"])
async def test_what_a_filter_leaves_out_makes_no_delivery(harness: WebhookHarness, events: list[str]) -> None:
    column = encode_filter(ExportFilter(project_id="8"))
    await harness.create_endpoint(events=events, export_filter=column)
    await submit(harness, "job-1", project_id="7")
    await harness.report(EventType.PROGRESS, "job-1", 1)
    await harness.report(EventType.COMPLETED, "job-1", 2)
    assert await harness.load_deliveries() == []


async def test_an_edit_decides_over_the_next_event(harness: WebhookHarness) -> None:
    await harness.create_endpoint(export_filter=encode_filter(ExportFilter(project_id="8")))
    await submit(harness, "job-1", project_id="7")
    async with harness.database.transaction() as session:
        job = await queries.get(session, "ada", "job-1")
        assert job is not None
        await transitions.edit(session, job, {"project_id": "8"}, now=harness.clock.now)
    await harness.report(EventType.COMPLETED, "job-1", 1)
    await harness.deliver_all()
    assert list_received(harness, URL) == [("export.completed", "job-1", 3)]


async def test_a_recovery_goes_by_the_filter(harness: WebhookHarness) -> None:
    for job_id, project_id in (("job-1", "7"), ("job-2", "8")):
        await submit(harness, job_id, project_id=project_id)
        await harness.report(EventType.COMPLETED, job_id, 1)
    endpoint = await harness.create_endpoint(export_filter=encode_filter(ExportFilter(project_id="8")))
    async with harness.database.transaction() as session:
        count, _ = await recovery.recover_missed(
            session, endpoint, JobSerializer(""), since=BEGIN - 1, now=harness.clock.now
        )
    await harness.deliver_all()
    assert count == 1
    assert list_received(harness, URL) == [("export.completed", "job-2", 2)]
