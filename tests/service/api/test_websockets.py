"""WebSockets over real sockets: states, refusals, limits and closing codes."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from service.settings import Settings
from tests.service.conftest import bearer, token
from tests.support.stream_calls import receive_job, socket_url, wait_close_code
from tests.support.stream_server import StreamServer, open_server


async def test_a_socket_sends_the_state_each_change_and_the_end(server: StreamServer) -> None:
    run = await server.submit_export()
    async with connect(socket_url(server, run)) as socket:
        seen = [await receive_job(socket)]
        assert seen[0]["done"] is False
        for change in (run.report_started, lambda: run.report_progress(20), run.report_failed):
            await change()
            while seen[-1]["sequence"] < (await server.get_export(run))["sequence"]:
                seen.append(await receive_job(socket))
        assert await wait_close_code(socket) == 1000
    last = seen[-1]
    assert last.pop("done") is True
    assert last == await server.get_export(run)
    assert [job["sequence"] for job in seen] == sorted({job["sequence"] for job in seen})
    assert [job.get("done") for job in seen[:-1]] == [False] * (len(seen) - 1)


async def test_a_socket_of_a_finished_export_sends_the_end_and_closes(server: StreamServer) -> None:
    run = await server.submit_export()
    await run.report_failed()
    async with connect(socket_url(server, run)) as socket:
        assert (await receive_job(socket))["done"] is True
        assert await wait_close_code(socket) == 1000


async def test_a_socket_answers_ping_with_pong(server: StreamServer) -> None:
    run = await server.submit_export()
    async with connect(socket_url(server, run)) as socket:
        await receive_job(socket)
        await socket.send("ping")
        async with asyncio.timeout(10):
            while (message := await socket.recv()) != "pong":
                assert json.loads(message)["done"] is False


async def test_a_socket_of_a_path_that_does_not_exist_is_refused_with_404(server: StreamServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{server.address}/ws/none").__aenter__()
    answer = refused.value.response
    assert (answer.status_code, json.loads(answer.body or b"")["code"]) == (404, "not_found")


async def test_a_message_that_is_no_text_closes_the_socket_without_an_error_in_the_log(
    server: StreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert await wait_close_code(socket) == 1007
    assert [record for record in caplog.records if record.name == "uvicorn.error.websocket"] == []


async def test_a_socket_for_all_exports_stays_open_after_an_end(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as socket:
        first_run, other = await server.submit_export(), await server.submit_export()
        await first_run.report_failed()
        await other.report_failed()
        ended: set[str] = set()
        while len(ended) < 2:
            job = await receive_job(socket)
            ended |= {job["job_id"]} if job["done"] else set()
        await socket.send("ping")
        assert await socket.recv() == "pong"


@pytest.mark.parametrize(
    ("job", "query", "headers", "status"),
    [
        pytest.param("known", "", {}, 401, id="without a token"),
        pytest.param("known", "", {"Authorization": "Bearer a.b.c"}, 401, id="a bad token"),
        pytest.param("known", "?ticket=x", {}, 401, id="a bad ticket"),
        pytest.param("known", "", {"Authorization": f"Bearer {token('eve')}"}, 404, id="another"),
        pytest.param("unknown", "", {"Authorization": f"Bearer {token('ada')}"}, 404, id="an unknown job"),
        pytest.param("x" * 99, "", {"Authorization": f"Bearer {token('ada')}"}, 404, id="an absurd job"),
    ],
)
async def test_a_socket_of_another_user_is_rejected_with_the_reason(
    multi_user_server: StreamServer, job: str, query: str, headers: dict[str, str], status: int
) -> None:
    run = await multi_user_server.submit_export(user="ada", headers=bearer("ada"))
    job_id = run.spec.job_id if job == "known" else job
    url = f"ws://{multi_user_server.address}/ws/export/{job_id}{query}"
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
async def test_pages_of_other_origins_open_no_socket(
    server: StreamServer, origin: str | None, welcome: bool
) -> None:
    run = await server.submit_export()
    actual_origin = None if origin is None else Origin(origin.format(server.address))
    if welcome:
        async with connect(socket_url(server, run), origin=actual_origin) as socket:
            assert (await receive_job(socket))["job_id"] == run.spec.job_id
        return
    with pytest.raises(InvalidStatus) as refused:
        await connect(socket_url(server, run), origin=actual_origin)
    assert refused.value.response.status_code == 403
    assert "ALLOWED_ORIGINS" in json.loads(refused.value.response.body or b"")["detail"]


async def test_every_origin_opens_a_socket_where_all_are_allowed(
    settings: Settings, stack: AsyncExitStack
) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("*",)})
    server = await stack.enter_async_context(open_server(allowing))
    run = await server.submit_export()
    async with connect(socket_url(server, run), origin=Origin("https://app.example")) as socket:
        assert (await receive_job(socket))["job_id"] == run.spec.job_id


async def test_only_the_applications_own_subprotocol_is_accepted(server: StreamServer) -> None:
    run = await server.submit_export()
    for offered, agreed in ((["framehook", "secret"], "framehook"), (["secret"], None)):
        async with connect(socket_url(server, run), subprotocols=offered) as socket:  # type: ignore[arg-type]
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
    async with connect(socket_url(server, run)) as socket:
        for message in messages:
            await socket.send(message)
        assert await wait_close_code(socket) == code


async def test_a_client_that_disconnects_in_the_handshake_is_no_error(server: StreamServer) -> None:
    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(_message: object) -> None:
        raise ClientDisconnected

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "http_version": "1.1",
        "root_path": "",
        "query_string": b"",
        "path": "/ws/exports",
        "raw_path": b"/ws/exports",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "subprotocols": [],
        "extensions": {},
        "state": dict(server.uvicorn.lifespan.state),
    }
    await server.uvicorn.config.loaded_app(scope, receive, send)
    assert server.stream_count == 0
