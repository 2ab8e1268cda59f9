"""SSE and WebSocket over real sockets begin with the current state and end with the last."""

import asyncio
import json
import logging
import time

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.service.conftest import bearer
from tests.support.stream_calls import Job, events_path, receive_job, socket_url, wait_close_code
from tests.support.stream_server import StreamServer, wait_until


async def test_a_stream_begins_with_the_current_state(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_started()
    await run.report_progress(40)
    async with server.events(events_path(run)) as events:
        first = await events.next()
        assert first is not None
        assert first.job == await server.get_export(run)
        assert (first.id, first.type) == (str(first.job["sequence"]), "export.progress")
        assert events.retry == "2000"
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        assert events.response.headers["x-accel-buffering"] == "no"


async def test_a_stream_sends_each_change_and_ends_with_the_last(server: StreamServer) -> None:
    run = await server.submit_export()
    async with server.events(events_path(run)) as events:
        first = await events.next()
        assert first is not None
        seen = [first]
        for change in (
            run.report_started,
            lambda: run.report_progress(20),
            lambda: run.report_progress(40),
            run.report_failed,
        ):
            await change()
            while seen[-1].id != str((await server.get_export(run))["sequence"]):
                event = await events.next()
                assert event is not None
                seen.append(event)
        assert await events.read_rest() == []
    assert [event.type for event in seen][-4:] == [
        *("export.started", "export.progress", "export.progress", "export.failed")
    ]
    assert [int(event.id) for event in seen] == sorted({int(event.id) for event in seen})
    assert all(event.id == str(event.job["sequence"]) for event in seen)


async def test_a_client_that_has_seen_the_end_gets_204(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_failed()
    async with server.events(events_path(run)) as events:
        (last,) = await events.read_rest()
    again = await server.client.get(events_path(run), headers={"last-event-id": last.id})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("seen", ["1", "", "x", "-1", "9" * 30, "\xb2"], ids=ascii)
async def test_a_client_that_has_not_seen_the_end_gets_it(server: StreamServer, seen: str) -> None:
    run = await server.submit_export()
    await run.report_failed()
    headers = [(b"last-event-id", seen.encode("latin-1"))]
    answer = await server.client.get(events_path(run), headers=headers)
    assert answer.status_code == 200
    assert b"event: export.failed\n" in answer.content


async def test_a_client_that_reconnects_gets_what_is_new(server: StreamServer) -> None:
    run = await server.submit_export()
    async with server.events(events_path(run)) as events:
        first = await events.next()
        assert first is not None
    await run.report_started()
    await run.report_progress(70)
    async with server.events(events_path(run), **{"last-event-id": first.id}) as events:
        event = await events.next()
        assert event is not None
        assert event.job["progress"] == 70


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "application/json, text/event-stream", ""])
async def test_a_client_that_accepts_a_stream_gets_it(server: StreamServer, accept: str) -> None:
    run = await server.submit_export()
    await run.report_failed()
    answer = await server.client.get(events_path(run), headers={"accept": accept})
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_of_all_exports_continues_after_an_export_ends(server: StreamServer) -> None:
    first_run = await server.submit_export()
    async with server.events("/api/exports/events") as events:
        assert [job["job_id"] for job in await events.snapshot()] == [first_run.spec.job_id]
        other = await server.submit_export()
        await first_run.report_failed()
        await other.report_failed()
        ended: set[str] = set()
        while len(ended) < 2:
            event = await events.next()
            assert event is not None
            ended |= {event.job["job_id"]} if event.type == "export.failed" else set()
    assert ended == {first_run.spec.job_id, other.spec.job_id}


async def test_a_stream_of_all_exports_contains_only_the_users_own(multi_user_server: StreamServer) -> None:
    of_ada = await multi_user_server.submit_export(user="ada", headers=bearer("ada"))
    async with multi_user_server.events("/api/exports/events", **bearer("eve")) as events:
        assert await events.snapshot() == []
        await of_ada.report_progress(10)
        of_eve = await multi_user_server.submit_export(user="eve", headers=bearer("eve"))
        event = await events.next()
        assert event is not None
        assert event.job["job_id"] == of_eve.spec.job_id


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), (bearer("eve"), 404)], ids=["no token", "another user"]
)
async def test_a_stream_is_rejected_before_it_begins(
    multi_user_server: StreamServer, headers: dict[str, str], status: int
) -> None:
    run = await multi_user_server.submit_export(user="ada", headers=bearer("ada"))
    answer = await multi_user_server.client.get(events_path(run), headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_ticket_opens_a_stream_more_than_once(multi_user_server: StreamServer) -> None:
    run = await multi_user_server.submit_export(user="ada", headers=bearer("ada"))
    given = await multi_user_server.client.post("/api/stream-tickets", headers=bearer("ada"))
    for _ in range(2):
        async with multi_user_server.events(f"{events_path(run)}?ticket={given.json()['ticket']}") as events:
            assert await events.next() is not None


async def test_streams_and_polling_show_the_same_states(server: StreamServer) -> None:
    run = await server.submit_export()

    async def by_events() -> list[Job]:
        async with server.events(events_path(run)) as events:
            return [event.job for event in await events.read_rest()]

    async def by_socket() -> list[Job]:
        async with connect(socket_url(server, run)) as socket:
            jobs = [json.loads(message) async for message in socket]
        return [{name: value for name, value in job.items() if name != "done"} for job in jobs]

    async def by_polling() -> list[Job]:
        jobs: list[Job] = []
        while not jobs or jobs[-1]["status"] in ("pending", "processing"):
            jobs.append(await server.get_export(run))
            await asyncio.sleep(0.005)
        return jobs

    async def work() -> None:
        await run.report_started()
        for progress in range(5, 100, 5):
            await run.report_progress(progress)
        await run.report_failed()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        ways = [group.create_task(way()) for way in (by_events, by_socket, by_polling)]
        group.create_task(work())
    observations = [way.result() for way in ways]
    assert observations[0][-1] == observations[1][-1] == observations[2][-1]
    states: dict[int, Job] = {}
    for job in (job for jobs in observations for job in jobs):
        assert states.setdefault(job["sequence"], job) == job
    for jobs in observations:
        assert [job["sequence"] for job in jobs] == sorted(job["sequence"] for job in jobs)


async def test_a_client_that_reads_nothing_delays_no_other_and_ends_on_the_newest(
    server: StreamServer,
) -> None:
    run = await server.submit_export()
    await run.report_started()
    async with server.events(events_path(run)) as slow, server.events(events_path(run)) as fast:
        assert await slow.next() is not None
        for number in range(50):
            await run.report_progress(number)
        await run.report_failed()
        quick, late = await fast.read_rest(), await slow.read_rest()
    assert quick[-1] == late[-1]
    assert quick[-1].type == "export.failed"


async def test_a_shutdown_ends_every_stream_cleanly_and_at_once(
    server: StreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    async with (
        server.events(events_path(run)) as of_one,
        server.events("/api/exports/events") as of_all,
        connect(socket_url(server, run)) as socket,
        connect(f"ws://{server.address}/ws/exports") as socket_of_all,
    ):
        assert await of_one.next() is not None
        assert await of_all.next() is not None
        await receive_job(socket)
        await receive_job(socket_of_all)
        stopping = asyncio.create_task(server.stop())
        began = time.monotonic()
        assert await of_one.read_rest() == []
        assert await of_all.read_rest() == []
        assert await wait_close_code(socket) == 1012
        assert await wait_close_code(socket_of_all) == 1012
        assert time.monotonic() - began < 1
    assert await stopping < 3
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_disconnected_clients_are_unsubscribed(server: StreamServer) -> None:
    run = await server.submit_export()
    for _ in range(5):
        async with server.events(events_path(run)) as events, connect(socket_url(server, run)) as socket:
            await events.next()
            await receive_job(socket)
            assert server.stream_count == 2
    await wait_until(lambda: server.stream_count == 0)


async def test_a_client_that_disconnects_in_its_body_is_no_error(
    server: StreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"filename": "a.mp4", "size": 1_000, "content_type": "video/mp4"}
    place = (await server.client.post("/api/uploads", json=body)).json()
    path = httpx.URL(place["url"]).raw_path.decode()
    for head in (
        f"PUT {path} HTTP/1.1\r\nContent-Type: video/mp4\r\nContent-Length: 1000",
        "POST /api/exports HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000",
        "POST /api/callbacks/x HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000",
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", server.settings.port)
        writer.write(f"{head}\r\nHost: {server.address}\r\n\r\n".encode() + b"x" * 10)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    incoming = server.settings.data_dir / "incoming"
    assert (await server.client.get("/healthz")).status_code == 200
    await server.stop()
    assert list(incoming.iterdir()) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
