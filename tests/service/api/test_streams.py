"""SSE and WebSocket over real sockets begin with the current state and end with the last."""

import asyncio
import json
import logging
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from service.settings import Settings
from tests.service.conftest import bearer, token
from tests.support.fakes import FakeRun
from tests.support.stream_server import StreamServer, open_server, wait_until

Job = dict[str, Any]


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


@pytest.fixture
async def shared_street(users_settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings))


def path_of(run: FakeRun) -> str:
    return f"/api/exports/{run.spec.job_id}/events"


def socket_of(server: StreamServer, run: FakeRun) -> str:
    return f"ws://{server.address}/ws/export/{run.spec.job_id}"


async def received(socket: ClientConnection) -> Job:
    async with asyncio.timeout(10):
        found: Job = json.loads(await socket.recv())
    return found


async def closed(socket: ClientConnection) -> int:
    """The code that the server closes with; what it sends before is passed over."""
    async with asyncio.timeout(10):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


async def test_a_stream_begins_with_the_present_state(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_started()
    await run.report_progress(40)
    async with server.events(path_of(run)) as events:
        first = await events.next()
        assert first is not None
        assert first.job == await server.get_export(run)
        assert (first.id, first.type) == (str(first.job["sequence"]), "export.progress")
        assert events.retry == "2000"
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        assert events.response.headers["x-accel-buffering"] == "no"


async def test_a_stream_tells_each_change_and_ends_with_the_last(server: StreamServer) -> None:
    run = await server.submit_export()
    async with server.events(path_of(run)) as events:
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


async def test_who_has_seen_the_end_is_told_not_to_come_back(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_failed()
    async with server.events(path_of(run)) as events:
        (last,) = await events.read_rest()
    again = await server.client.get(path_of(run), headers={"last-event-id": last.id})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("seen", ["1", "", "x", "-1", "9" * 30, "\xb2"], ids=ascii)
async def test_who_has_not_seen_the_end_is_told_it(server: StreamServer, seen: str) -> None:
    run = await server.submit_export()
    await run.report_failed()
    headers = [(b"last-event-id", seen.encode("latin-1"))]
    answer = await server.client.get(path_of(run), headers=headers)
    assert answer.status_code == 200
    assert b"event: export.failed\n" in answer.content


async def test_who_comes_back_in_between_gets_what_is_new(server: StreamServer) -> None:
    run = await server.submit_export()
    async with server.events(path_of(run)) as events:
        first = await events.next()
        assert first is not None
    await run.report_started()
    await run.report_progress(70)
    async with server.events(path_of(run), **{"last-event-id": first.id}) as events:
        event = await events.next()
        assert event is not None
        assert event.job["progress"] == 70


async def test_a_stream_of_all_exports_tells_of_each_and_goes_on_after_an_end(server: StreamServer) -> None:
    one = await server.submit_export()
    async with server.events("/api/exports/events") as events:
        assert [job["job_id"] for job in await events.snapshot()] == [one.spec.job_id]
        other = await server.submit_export()
        await one.report_failed()
        await other.report_failed()
        ended: set[str] = set()
        while len(ended) < 2:
            event = await events.next()
            assert event is not None
            ended |= {event.job["job_id"]} if event.type == "export.failed" else set()
    assert ended == {one.spec.job_id, other.spec.job_id}


async def test_a_stream_of_all_exports_holds_the_caller_s_alone(shared_street: StreamServer) -> None:
    of_ada = await shared_street.submit_export(user="ada", headers=bearer("ada"))
    async with shared_street.events("/api/exports/events", **bearer("eve")) as events:
        assert await events.snapshot() == []
        await of_ada.report_progress(10)
        of_eve = await shared_street.submit_export(user="eve", headers=bearer("eve"))
        event = await events.next()
        assert event is not None
        assert event.job["job_id"] == of_eve.spec.job_id


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (bearer("eve"), 404)], ids=["nobody", "another"])
async def test_a_stream_is_refused_before_it_begins(
    shared_street: StreamServer, headers: dict[str, str], status: int
) -> None:
    run = await shared_street.submit_export(user="ada", headers=bearer("ada"))
    answer = await shared_street.client.get(path_of(run), headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_ticket_opens_a_stream_more_than_once(shared_street: StreamServer) -> None:
    run = await shared_street.submit_export(user="ada", headers=bearer("ada"))
    given = await shared_street.client.post("/api/stream-tickets", headers=bearer("ada"))
    for _ in range(2):
        async with shared_street.events(f"{path_of(run)}?ticket={given.json()['ticket']}") as events:
            assert await events.next() is not None


async def test_a_socket_tells_the_state_each_change_and_the_end(server: StreamServer) -> None:
    run = await server.submit_export()
    async with connect(socket_of(server, run)) as socket:
        seen = [await received(socket)]
        assert seen[0]["done"] is False
        for change in (run.report_started, lambda: run.report_progress(20), run.report_failed):
            await change()
            while seen[-1]["sequence"] < (await server.get_export(run))["sequence"]:
                seen.append(await received(socket))
        assert await closed(socket) == 1000
    last = seen[-1]
    assert last.pop("done") is True
    assert last == await server.get_export(run)
    assert [job["sequence"] for job in seen] == sorted({job["sequence"] for job in seen})
    assert [job.get("done") for job in seen[:-1]] == [False] * (len(seen) - 1)


async def test_a_socket_to_what_is_over_tells_the_end_and_closes(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_failed()
    async with connect(socket_of(server, run)) as socket:
        assert (await received(socket))["done"] is True
        assert await closed(socket) == 1000


async def test_a_socket_answers_ping_with_pong(server: StreamServer) -> None:
    run = await server.submit_export()
    async with connect(socket_of(server, run)) as socket:
        await received(socket)
        await socket.send("ping")
        async with asyncio.timeout(10):
            while (message := await socket.recv()) != "pong":
                assert json.loads(message)["done"] is False


async def test_a_socket_for_all_exports_stays_open_after_an_end(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as socket:
        one, other = await server.submit_export(), await server.submit_export()
        await one.report_failed()
        await other.report_failed()
        ended: set[str] = set()
        while len(ended) < 2:
            job = await received(socket)
            ended |= {job["job_id"]} if job["done"] else set()
        await socket.send("ping")
        assert await socket.recv() == "pong"


@pytest.mark.parametrize(
    ("job", "query", "headers", "status"),
    [
        pytest.param("known", "", {}, 401, id="nobody"),
        pytest.param("known", "", {"Authorization": "Bearer a.b.c"}, 401, id="a bad token"),
        pytest.param("known", "?ticket=x", {}, 401, id="a bad ticket"),
        pytest.param("known", "", {"Authorization": f"Bearer {token('eve')}"}, 404, id="another"),
        pytest.param("unknown", "", {"Authorization": f"Bearer {token('ada')}"}, 404, id="an unknown job"),
        pytest.param("x" * 99, "", {"Authorization": f"Bearer {token('ada')}"}, 404, id="an absurd job"),
    ],
)
async def test_a_socket_that_is_not_for_the_caller_is_refused_with_the_reason(
    shared_street: StreamServer, job: str, query: str, headers: dict[str, str], status: int
) -> None:
    run = await shared_street.submit_export(user="ada", headers=bearer("ada"))
    job_id = run.spec.job_id if job == "known" else job
    url = f"ws://{shared_street.address}/ws/export/{job_id}{query}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers)
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    if status == 401:
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "`Authorization: Bearer <token>`" in json.loads(response.body or b"")["detail"]


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://{}", True),
        ("http://evil.example", False),
        ("http://{}.evil.example", False),
        ("null", False),
    ],
)
async def test_pages_elsewhere_open_no_socket(
    server: StreamServer, origin: str | None, welcome: bool
) -> None:
    run = await server.submit_export()
    told = None if origin is None else Origin(origin.format(server.address))
    if welcome:
        async with connect(socket_of(server, run), origin=told) as socket:
            assert (await received(socket))["job_id"] == run.spec.job_id
        return
    with pytest.raises(InvalidStatus) as refused:
        await connect(socket_of(server, run), origin=told)
    assert refused.value.response.status_code == 403
    assert "ALLOWED_ORIGINS" in json.loads(refused.value.response.body or b"")["detail"]


async def test_every_page_opens_a_socket_where_every_origin_is_allowed(
    settings: Settings, stack: AsyncExitStack
) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("*",)})
    server = await stack.enter_async_context(open_server(allowing))
    run = await server.submit_export()
    async with connect(socket_of(server, run), origin=Origin("https://app.example")) as socket:
        assert (await received(socket))["job_id"] == run.spec.job_id


async def test_the_application_s_own_protocol_is_agreed_and_no_other(server: StreamServer) -> None:
    run = await server.submit_export()
    for offered, agreed in ((["framehook", "secret"], "framehook"), (["secret"], None)):
        async with connect(socket_of(server, run), subprotocols=offered) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == agreed


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param(["x" * 1_025], 1009, id="long"),
        pytest.param([b"x" * 1_025], 1009, id="long and binary"),
        pytest.param(["x" * 100_000], 1009, id="very long"),
        pytest.param(["é" * 1_000], 1009, id="long in bytes"),
        pytest.param(["ping"] * 40, 1008, id="many"),
    ],
)
async def test_a_socket_that_is_misused_is_closed(
    server: StreamServer, messages: list[str | bytes], code: int
) -> None:
    run = await server.submit_export()
    async with connect(socket_of(server, run)) as socket:
        for message in messages:
            await socket.send(message)
        assert await closed(socket) == code


async def test_all_ways_to_look_show_the_same(server: StreamServer) -> None:
    run = await server.submit_export()

    async def by_events() -> list[Job]:
        async with server.events(path_of(run)) as events:
            return [event.job for event in await events.read_rest()]

    async def by_socket() -> list[Job]:
        async with connect(socket_of(server, run)) as socket:
            found = [json.loads(message) async for message in socket]
        return [{name: value for name, value in job.items() if name != "done"} for job in found]

    async def by_polling() -> list[Job]:
        found: list[Job] = []
        while not found or found[-1]["status"] in ("pending", "processing"):
            found.append(await server.get_export(run))
            await asyncio.sleep(0.005)
        return found

    async def work() -> None:
        await run.report_started()
        for progress in range(5, 100, 5):
            await run.report_progress(progress)
        await run.report_failed()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        ways = [group.create_task(way()) for way in (by_events, by_socket, by_polling)]
        group.create_task(work())
    told = [way.result() for way in ways]
    assert told[0][-1] == told[1][-1] == told[2][-1]
    states: dict[int, Job] = {}
    for job in (job for way in told for job in way):
        assert states.setdefault(job["sequence"], job) == job
    for way in told:
        assert [job["sequence"] for job in way] == sorted(job["sequence"] for job in way)


async def test_a_reader_who_takes_nothing_delays_nobody_and_ends_on_the_newest(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_started()
    async with server.events(path_of(run)) as slow, server.events(path_of(run)) as fast:
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
        server.events(path_of(run)) as of_one,
        server.events("/api/exports/events") as of_all,
        connect(socket_of(server, run)) as socket,
        connect(f"ws://{server.address}/ws/exports") as socket_of_all,
    ):
        assert await of_one.next() is not None
        assert await of_all.next() is not None
        await received(socket)
        await received(socket_of_all)
        stopping = asyncio.create_task(server.stop())
        began = time.monotonic()
        assert await of_one.read_rest() == []
        assert await of_all.read_rest() == []
        assert await closed(socket) == 1012
        assert await closed(socket_of_all) == 1012
        assert time.monotonic() - began < 1
    assert await stopping < 3
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_readers_who_leave_are_forgotten(server: StreamServer) -> None:
    run = await server.submit_export()
    for _ in range(5):
        async with server.events(path_of(run)) as events, connect(socket_of(server, run)) as socket:
            await events.next()
            await received(socket)
            assert server.stream_count == 2
    await wait_until(lambda: server.stream_count == 0)


async def test_a_client_that_goes_away_within_its_body_is_no_failure_of_ours(
    server: StreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"filename": "a.mp4", "size": 1_000, "content_type": "video/mp4"}
    place = (await server.client.post("/api/uploads", json=asked)).json()
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
