"""Subscribers see an edit, also after the end of an export, and take it for no second end."""

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_field
from sqlalchemy import text
from websockets.asyncio.client import connect

from callbacks.envelope import EventType, Phase
from service.fanout.publications import Publication
from service.fanout.subscribers import Subscriber
from service.jobs.filters import ExportFilter
from service.jobs.models import Job, Status
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.fakes import FakeRun
from tests.support.job_factory import submission_for
from tests.support.stream_calls import events_path, receive_job
from tests.support.stream_server import StreamServer, open_server

EVENTS = "/api/exports/events"
END_AT, OPENED_AT = 100.0, 200.0


@pytest.fixture(params=["sqlite", "postgresql"])
async def server(request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack) -> StreamServer:
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    stack.push_async_callback(delete_all_rows, url)
    return await stack.enter_async_context(open_server(settings.model_copy(update={"database_url": url})))


async def patch(server: StreamServer, run: FakeRun, **fields: object) -> int:
    """Edit the export and return its sequence."""
    answer = await server.client.patch(f"/api/exports/{run.spec.job_id}", json=fields)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["sequence"])


async def fail_export(server: StreamServer, **fields: Any) -> FakeRun:
    run = await server.submit_export(**fields)
    await server.wait_for_call_id(run)
    await run.report_failed()
    return run


async def test_streams_and_sockets_send_each_edit_with_the_type_of_progress(server: StreamServer) -> None:
    run = await server.submit_export(name="a")
    await server.wait_for_call_id(run)
    async with (
        server.events(EVENTS) as events,
        connect(f"ws://{server.address}/ws/exports") as socket,
    ):
        assert [job["name"] for job in await events.snapshot()] == ["a"]
        assert (await receive_job(socket))["name"] == "a"
        seen = []
        for fields in ({"name": "b"}, {"metadata": {"n": 1}}, None, {"name": "c"}, {"project_id": 7}):
            if fields is None:
                await run.report_failed()
            else:
                await patch(server, run, **fields)
            event, message = await events.next(), await receive_job(socket)
            assert event is not None
            assert event.job | {"done": message["done"]} == message
            assert message["done"] == (message["status"] == "error")
            seen.append((event.type, event.job["name"], event.job["metadata"], event.job["project_id"]))
    assert seen == [
        ("export.progress", "b", {}, None),
        ("export.progress", "b", {"n": 1}, None),
        ("export.failed", "b", {"n": 1}, None),
        ("export.progress", "c", {"n": 1}, None),
        ("export.progress", "c", {"n": 1}, 7),
    ]


async def test_an_edit_of_what_ended_before_the_stream_is_no_end(server: StreamServer) -> None:
    run = await fail_export(server)
    async with server.events(EVENTS) as events:
        await events.snapshot()
        await patch(server, run, name="b")
        event = await events.next()
        assert event is not None
        assert (event.type, event.job["status"], event.job["name"]) == ("export.progress", "error", "b")


async def test_a_stream_of_an_edited_export_ends_with_its_end_and_only_once(server: StreamServer) -> None:
    run = await fail_export(server)
    end = (await server.get_export(run))["sequence"]
    last = await patch(server, run, name="b")
    async with server.events(events_path(run)) as events:
        [event] = await events.read_rest()
    assert (event.type, event.id, event.job["name"]) == ("export.failed", str(last), "b")
    async with connect(f"ws://{server.address}/ws/export/{run.spec.job_id}") as socket:
        assert (await receive_job(socket))["done"]
    for seen, status in ((end - 1, 200), (end, 204), (last, 204)):
        answer = await server.client.get(events_path(run), headers={"last-event-id": str(seen)})
        assert answer.status_code == status


async def test_a_client_that_was_away_gets_what_was_edited_long_after_its_end(server: StreamServer) -> None:
    run, other = await fail_export(server, project_id=7), await fail_export(server, project_id=8)
    database = server.uvicorn.lifespan.state["database"]
    async with database.transaction() as session:
        await session.execute(text("UPDATE export_jobs SET completed_at = 1, acknowledged_at = 1"))
    async with server.events(f"{EVENTS}?project_id=7") as events:
        opening = await events.next()
        assert opening is not None
        assert opening.jobs == []
    await patch(server, run, project_id=9)
    headers = {"last-event-id": opening.id}
    async with server.events(f"{EVENTS}?project_id=7", **headers) as events:
        assert [(job["job_id"], job["project_id"]) for job in await events.snapshot()] == [
            (run.spec.job_id, 9)
        ]
    async with server.events(EVENTS) as events:
        assert [job["job_id"] for job in await events.snapshot()] == [run.spec.job_id]
    assert (await server.get_export(other))["project_id"] == 8


@pytest.mark.parametrize(
    ("query", "fields"),
    [("project_id=7", {"project_id": 8}), ("metadata.k=v&metadata.n=1", {"metadata": {"k": "v", "n": 2}})],
)
async def test_an_export_that_is_edited_out_of_a_filter_is_sent_once_more(
    server: StreamServer, query: str, fields: dict[str, object]
) -> None:
    matching: dict[str, Any] = {"project_id": 7, "metadata": {"k": "v", "n": 1}}
    run = await server.submit_export(**matching)
    await server.wait_for_call_id(run)
    async with (
        server.events(f"{EVENTS}?{query}") as events,
        connect(f"ws://{server.address}/ws/exports?{query}") as socket,
    ):
        assert len(await events.snapshot()) == 1
        await receive_job(socket)
        left = await patch(server, run, **fields)
        event, message = await events.next(), await receive_job(socket)
        assert event is not None
        assert (event.job["sequence"], message["sequence"]) == (left, left)
        await patch(server, run, name="unseen")
        other = await server.submit_export(**matching)
        event = await events.next()
        assert event is not None
        assert event.job["job_id"] == other.spec.job_id
        assert (await receive_job(socket))["job_id"] == other.spec.job_id


def state_of(sequence: int, status: Status, *, end: int = 0, completed_at: float = END_AT) -> Publication:
    job = Job(
        **submission_for("job").__dict__,
        status=status,
        phase=Phase.DONE if status.is_final else Phase.PROCESSING,
        runner="local",
        created_at=0.0,
        completed_at=completed_at if status.is_final else None,
        edited_at=END_AT,
        sequence=sequence,
        transition_sequence=end or sequence,
    )
    return Publication("job", "ada", sequence, job.event_type, json.dumps(sequence).encode(), job)


@pytest.mark.parametrize(
    ("known", "offered", "expected"),
    [
        pytest.param(
            None, [state_of(3, Status.COMPLETE, end=2)], "export.progress", id="ended before the stream"
        ),
        pytest.param(
            None,
            [state_of(3, Status.COMPLETE, end=2, completed_at=OPENED_AT)],
            "export.completed",
            id="ended during the stream, read late",
        ),
        pytest.param(
            state_of(1, Status.PROCESSING),
            [state_of(2, Status.COMPLETE), state_of(3, Status.COMPLETE, end=2)],
            "export.completed",
            id="end and edit in one",
        ),
        pytest.param(
            state_of(2, Status.CANCELLED),
            [state_of(3, Status.CANCELLED, end=2)],
            "export.progress",
            id="end known",
        ),
        pytest.param(
            state_of(2, Status.ERROR),
            [state_of(4, Status.ERROR)],
            "export.failed",
            id="failed again after a retry",
        ),
        pytest.param(
            state_of(2, Status.PROCESSING), [state_of(3, Status.PROCESSING)], "export.progress", id="running"
        ),
    ],
)
async def test_an_end_is_announced_once(
    known: Publication | None, offered: list[Publication], expected: str
) -> None:
    subscriber = Subscriber(ends_since=OPENED_AT)
    if known is not None:
        subscriber.mark_delivered(known)
    for publication in offered:
        subscriber.offer(publication)
    change = await subscriber.next()
    assert (change.sequence, change.type) == (offered[-1].sequence, expected)


async def test_an_end_outside_of_a_filter_is_not_announced_when_an_edit_brings_the_export_in() -> None:
    subscriber = Subscriber(ExportFilter(project_id="7"), ends_since=OPENED_AT)
    subscriber.mark_delivered(state_of(2, Status.COMPLETE))
    change = state_of(3, Status.COMPLETE, end=2)
    assert change.job is not None
    subscriber.offer(replace(change, job=replace_field(change.job, project_id="7")))
    assert (await subscriber.next()).type is EventType.PROGRESS
