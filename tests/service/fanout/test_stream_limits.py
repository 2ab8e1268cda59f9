"""Open streams are limited, and end when their token expires."""

import asyncio
import json
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from framehook.streams.eventsource import Parser
from service.api.streaming.event_stream import KEEP_ALIVE
from service.fanout.stream_slots import StreamSlots
from service.settings import Settings
from tests.service.conftest import bearer, token
from tests.support.stream_server import Road, StreamServer, open_server, wait_until

EVENTS = "/api/exports/events"
SHORT_SECONDS = 4


@pytest.fixture
async def server(users_settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    bounded = users_settings.model_copy(update={"max_streams_per_user": 2, "max_streams": 3})
    return await stack.enter_async_context(open_server(bounded, road=road))


async def is_refused(server: StreamServer, path: str, user: str) -> bool:
    """Tell whether a stream only says when to reconnect."""
    async with server.events(path, **bearer(user)) as events:
        event = await events.next()
        assert event is not None
        if event.type != "stream.refused":
            return False
        assert event.job == {"reason": "too_many_streams"}
        assert 30_000 <= int(events.retry or 0) <= 60_000
        assert events.response.status_code == 200
        assert await events.read_rest() == []
        return True


async def close_code(url: str, user: str) -> int | None:
    """Return the close code of a WebSocket; None if it sends a state."""
    headers = {"Authorization": bearer(user)["authorization"]}
    async with connect(url, additional_headers=headers) as socket, asyncio.timeout(10):
        try:
            await socket.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006
        return None


async def test_streams_of_both_kinds_count_together_per_user_and_in_total(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    per_export = f"/api/exports/{run.spec.job_id}/events"
    socket_url = f"ws://{server.address}/ws/export/{run.spec.job_id}"
    events = await stack.enter_async_context(server.events(EVENTS, **bearer("ada")))
    await events.next()
    headers = {"Authorization": bearer("ada")["authorization"]}
    await (await stack.enter_async_context(connect(socket_url, additional_headers=headers))).recv()
    assert await is_refused(server, EVENTS, "ada")
    assert await is_refused(server, per_export, "ada")
    assert await close_code(socket_url, "ada") == 1013
    assert await close_code(f"ws://{server.address}/ws/exports", "ada") == 1013
    of_bob = await stack.enter_async_context(server.events(EVENTS, **bearer("bob")))
    await of_bob.next()
    assert await is_refused(server, EVENTS, "eve")


async def test_the_end_of_a_stream_frees_its_slot(server: StreamServer) -> None:
    for _ in range(5):
        async with server.events(EVENTS, **bearer("ada")) as events:
            await events.next()
        await wait_until(lambda: server.stream_count == 0)
    assert not await is_refused(server, EVENTS, "ada")


def test_a_released_slot_is_free_for_its_user_and_in_total() -> None:
    slots = StreamSlots(1, 2)
    assert [slots.try_acquire(user) for user in ("ada", "ada", "bob", "eve")] == [True, False, True, False]
    slots.release("ada")
    assert [slots.try_acquire(user) for user in ("bob", "eve", "ada")] == [False, True, False]


async def test_a_stream_ends_with_its_token_and_says_so(server: StreamServer) -> None:
    headers = {"authorization": f"Bearer {token('ada', exp=int(time.time()) + SHORT_SECONDS)}"}
    async with server.events(EVENTS, **headers) as events:
        assert await events.snapshot() == []
        last = (await events.read_rest())[-1]
    assert (last.type, last.job) == ("stream.expired", {"reason": "token_expired"})
    assert (await server.client.get(EVENTS, headers=headers)).status_code == 401


async def test_a_stream_ends_with_its_ticket(server: StreamServer) -> None:
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    body = {"expires_in": SHORT_SECONDS}
    given = await server.client.post("/api/stream-tickets", headers=bearer("ada"), json=body)
    path = f"/api/exports/{run.spec.job_id}/events?ticket={given.json()['ticket']}"
    async with server.events(path) as events:
        assert (await events.read_rest())[-1].type == "stream.expired"
    assert (await server.client.get(path)).status_code == 401


async def test_a_socket_ends_with_its_token(server: StreamServer) -> None:
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    headers = {"Authorization": f"Bearer {token('ada', exp=int(time.time()) + SHORT_SECONDS)}"}
    url = f"ws://{server.address}/ws/export/{run.spec.job_id}"
    async with connect(url, additional_headers=headers) as socket, asyncio.timeout(10):
        assert json.loads(await socket.recv())["job_id"] == run.spec.job_id
        await socket.wait_closed()
    assert socket.close_code == 4401


async def test_a_head_request_opens_no_stream(server: StreamServer) -> None:
    answer = await server.client.head(EVENTS, headers=bearer("ada"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert server.stream_count == 0


async def test_headers_come_at_once_and_the_first_block_is_an_event(server: StreamServer) -> None:
    async with server.client.stream("GET", EVENTS, headers=bearer("ada")) as response:
        chunk = await anext(response.aiter_raw())
    assert chunk.startswith(b"retry: 2000\nid: ")
    assert chunk.endswith(b'event: export.snapshot\ndata: {"exports":[]}\n\n')


def test_a_keep_alive_is_not_parsed_as_an_event() -> None:
    event = b"event: export.progress\ndata: {}\n\n"
    sent = b"".join((*KEEP_ALIVE, event, *KEEP_ALIVE, *KEEP_ALIVE, event))
    assert b"\n\n:" in sent
    assert sent.count(b"\n\n") == 2
    assert len(list(Parser().feed(sent))) == 2


async def test_an_event_source_reconnects_after_the_identity_provider_was_unreachable(
    settings: Settings, stack: AsyncExitStack
) -> None:
    away = settings.model_copy(update={"auth_jwks_url": "http://127.0.0.1:9/keys"})
    server = await stack.enter_async_context(open_server(away))
    headers = {"authorization": f"Bearer {token('ada')}"}
    answer: httpx.Response = await server.client.get(EVENTS, headers=headers)
    assert (answer.status_code, answer.text) == (
        200,
        'retry: 2000\nevent: stream.refused\ndata: {"reason":"unavailable"}\n\n',
    )
