"""Tickets open streams, again and again while they last, and nothing else; no log shows them."""

import re
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.api.openapi.operations import Credential, find_operation
from service.api.routes import ROUTES
from service.settings import Settings
from tests.service.conftest import JWT_SECRET, bearer, token
from tests.support.clocks import MovableClock
from tests.support.service_process import ServiceProcess
from tests.support.stream_calls import events_path, receive_job, wait_close_code
from tests.support.stream_server import Road, StreamServer, open_server, wait_until

EVENTS = "/api/exports/events"


@pytest.fixture
async def server(users_settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings, road=road))


async def get_ticket(server: StreamServer, **body: int) -> str:
    answer = await server.client.post("/api/stream-tickets", headers=bearer("ada"), json=body or None)
    assert answer.status_code == 201
    return str(answer.json()["ticket"])


def list_user_requests() -> Iterator[tuple[str, str]]:
    """Yield the method and path of each request that takes the token of a user."""
    for route in ROUTES:
        declared = find_operation(route.endpoint) if isinstance(route, Route) else None
        if isinstance(route, Route) and declared and declared[0].credential is Credential.USER:
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, re.sub(r"{.*?}", "some-export-id", route.path)


async def test_no_request_but_those_for_streams_takes_a_ticket(server: StreamServer) -> None:
    ticket = await get_ticket(server)
    requests = list(list_user_requests())
    assert len(requests) > 20
    for method, path in requests:
        for query, headers in ((f"?ticket={ticket}", {}), ("", {"authorization": f"Bearer {ticket}"})):
            answer = await server.client.request(
                method, f"{path}{query}", headers=headers | {"content-type": "application/json"}
            )
            assert answer.status_code == 401, (method, path)
    timeline = await server.client.get(
        f"/api/exports/some-export-id/events?ticket={ticket}", headers={"accept": "application/json"}
    )
    assert timeline.status_code == 401


async def test_no_log_shows_a_query(tmp_path: Path) -> None:
    async with ServiceProcess(tmp_path, {"AUTH_JWT_SECRET": JWT_SECRET}) as service:
        client, sockets = service.http, f"ws://127.0.0.1:{service.port}/ws"
        ticket = (await client.post("/api/stream-tickets", headers=bearer("ada"))).json()["ticket"]
        query = f"?ticket={ticket}"
        headers = {"referer": f"http://page.example/{query}"}
        async with client.stream("GET", f"{EVENTS}{query}", headers=headers) as response:
            assert response.headers["referrer-policy"] == "no-referrer"
            await anext(response.aiter_raw())
        for path in (
            f"{EVENTS}{query}x",
            f"/api/exports/unknown/events{query}",
            f"/nowhere{query}",
            f"/%zz{query}",
        ):
            await client.get(path, headers=headers)
        async with connect(f"{sockets}/exports{query}") as socket:
            await socket.send("ping")
            await socket.recv()
        for refused_path in (f"exports{query}x", f"exports{query}&status=x", f"export/unknown{query}"):
            with pytest.raises(InvalidStatus):
                await connect(f"{sockets}/{refused_path}")
        await wait_until(lambda: "GET /ws/exports 101" in service.log)
        await wait_until(
            lambda: "GET /ws/exports 401" in service.log and "GET /ws/exports 422" in service.log
        )
    assert f"GET {EVENTS} 200" in service.log
    assert "?" not in service.log
    assert ticket[:40] not in service.log
    assert "ERROR" not in service.log


async def test_the_url_of_an_expired_ticket_is_refused_in_the_handshake(server: StreamServer) -> None:
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    url = f"ws://{server.address}/ws/export/{run.spec.job_id}?ticket={await get_ticket(server, expires_in=3)}"
    for _ in range(2):
        async with connect(url) as socket:
            await receive_job(socket)
    async with connect(url) as socket:
        assert await wait_close_code(socket) == 4401
    with pytest.raises(InvalidStatus) as refused:
        await connect(url)
    assert refused.value.response.status_code == 401


async def test_a_stream_that_ends_after_an_hour_with_a_valid_token_does_not_say_that_it_expired(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    clock = MovableClock()
    server = await stack.enter_async_context(open_server(users_settings, clock=clock.clock))
    headers = {"authorization": f"Bearer {token('ada', exp=int(time.time()) + 9_000)}"}
    run = await server.submit_export(user="ada", headers=headers)
    url = f"ws://{server.address}/ws/export/{run.spec.job_id}"
    async with (
        server.events(events_path(run), **headers) as of_one,
        server.events(EVENTS, **headers) as of_all,
        connect(url, additional_headers={"Authorization": headers["authorization"]}) as socket,
    ):
        await of_one.next()
        await of_all.next()
        await receive_job(socket)
        clock.passed_seconds += 3_601
        clock.step_seconds -= 3_601  # so that the run's signature is not too old
        await run.report_progress(10)  # wakes them, as the passing time would
        for events in (of_one, of_all):
            assert {event.type for event in await events.read_rest()} <= {"export.progress"}
        assert await wait_close_code(socket) == 1012
