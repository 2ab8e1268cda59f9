"""Lists, streams and sockets take the same filters; a client gets the state in which an export leaves its filter."""

import json
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.stream_calls import receive_job
from tests.support.stream_server import Events, Road, StreamServer, open_server

EVENTS = "/api/exports/events"


@pytest.fixture(params=["sqlite", "postgresql"])
async def server(
    request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack, road: Road
) -> StreamServer:
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    stack.push_async_callback(delete_all_rows, url)
    return await stack.enter_async_context(
        open_server(settings.model_copy(update={"database_url": url}), road=road)
    )


async def list_ids(server: StreamServer, query: str) -> set[str]:
    answer = await server.client.get(f"/api/exports?{query}")
    return {job["job_id"] for job in answer.json()["exports"]}


async def read_until(events: Events, job_id: str, status: str) -> list[dict[str, object]]:
    """Read events up to the one in which the export has the status, and return their jobs."""
    jobs = []
    while (event := await events.next()) is not None:
        jobs.append(event.job)
        if (event.job["job_id"], event.job["status"]) == (job_id, status):
            break
    return jobs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", "abc", id="no filter"),
        pytest.param("project_id=7", "ab", id="a number or its text"),
        pytest.param("project_id=seven", "", id="no such project"),
        pytest.param("status=error", "a", id="a status"),
        pytest.param("status=error&status=processing", "ab", id="two statuses"),
        pytest.param("status=pending&project_id=7", "", id="both conditions"),
        pytest.param("type=framing&project_id=8", "c", id="type and project"),
        pytest.param("type=overlay&type=annotate", "", id="other types"),
    ],
)
async def test_a_filter_means_the_same_on_lists_streams_and_sockets(
    server: StreamServer, query: str, expected: str
) -> None:
    runs = {
        "a": await server.submit_export(project_id=7),
        "b": await server.submit_export(project_id="7"),
        "c": await server.submit_export(project_id="8"),
    }
    for run in runs.values():
        await server.wait_for_call_id(run)
    await runs["a"].report_failed()
    await runs["b"].report_started()
    ids = {runs[name].spec.job_id for name in expected}
    assert await list_ids(server, query) == ids
    async with server.events(f"{EVENTS}?{query}") as events:
        assert {job["job_id"] for job in await events.snapshot()} == ids
    async with connect(f"ws://{server.address}/ws/exports?{query}") as socket:
        assert {(await receive_job(socket))["job_id"] for _ in ids} == ids
        await socket.send("ping")
        assert await socket.recv() == "pong"


async def test_only_changes_within_the_filter_are_sent(server: StreamServer) -> None:
    async with (
        server.events(f"{EVENTS}?project_id=7") as events,
        connect(f"ws://{server.address}/ws/exports?project_id=7") as socket,
    ):
        assert await events.snapshot() == []
        other = await server.submit_export(project_id=8)
        wanted = await server.submit_export(project_id=7)
        await other.report_failed()
        await wanted.report_failed()
        jobs = await read_until(events, wanted.spec.job_id, "error")
        assert {job["job_id"] for job in jobs} == {wanted.spec.job_id}
        state = await receive_job(socket)
        while not state["done"]:
            assert state["project_id"] == 7
            state = await receive_job(socket)
        assert state["job_id"] == wanted.spec.job_id


async def test_a_stream_of_running_exports_sends_their_end_once(server: StreamServer) -> None:
    run, cancelled = await server.submit_export(), await server.submit_export()
    for each in (run, cancelled):
        await server.wait_for_call_id(each)
    async with (
        server.events(f"{EVENTS}?status=processing") as events,
        connect(f"ws://{server.address}/ws/exports?status=processing") as socket,
    ):
        assert await events.snapshot() == []
        await server.client.delete(f"/api/exports/{cancelled.spec.job_id}")  # it was never running
        await run.report_progress(20)
        jobs = await read_until(events, run.spec.job_id, "processing")
        state = await receive_job(socket)
        assert state["status"] == "processing"
        await run.report_failed()
        jobs += await read_until(events, run.spec.job_id, "error")
        assert (await receive_job(socket))["status"] == "error"
        assert {job["job_id"] for job in jobs} == {run.spec.job_id}
        await server.client.post(f"/api/exports/{run.spec.job_id}/retry")
        again = await server.next_run()
        await again.report_progress(30)
        assert [job["status"] for job in await read_until(events, run.spec.job_id, "processing")] == [
            "processing"
        ]


async def test_a_client_that_was_away_gets_what_left_its_filter(server: StreamServer) -> None:
    run = await server.submit_export(project_id=7)
    other = await server.submit_export(project_id=8)
    for each in (run, other):
        await each.report_progress(10)
    query = "status=processing&project_id=7"
    async with server.events(f"{EVENTS}?{query}") as events:
        snapshot = await events.next()
        assert snapshot is not None
        assert [job["job_id"] for job in snapshot.jobs] == [run.spec.job_id]
    await run.report_failed()
    await other.report_failed()
    for resumption in ({"last-event-id": snapshot.id}, {}):
        suffix = "" if resumption else f"&lastEventId={snapshot.id}"
        async with server.events(f"{EVENTS}?{query}{suffix}", **resumption) as events:
            assert [(job["job_id"], job["status"]) for job in await events.snapshot()] == [
                (run.spec.job_id, "error")
            ]
    async with server.events(f"{EVENTS}?{query}") as events:
        assert await events.snapshot() == []


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "type=poster",
        "project_id=%00",
        "project=7",
        "status=error&limit=3",
        "project_id=1&project_id=2",
    ],
)
async def test_a_bad_filter_is_named_before_the_stream_begins(server: StreamServer, query: str) -> None:
    answer = await server.client.get(f"{EVENTS}?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:framehook:problem:invalid")
    assert answer.json()["errors"][0]["loc"][0] == "query"
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{server.address}/ws/exports?{query}")
    assert refused.value.response.status_code == 422
    assert json.loads(refused.value.response.body or b"")["errors"] == answer.json()["errors"]
