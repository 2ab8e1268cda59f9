"""Streams that a key has opened, itself or with a ticket, end when it is revoked."""

import time
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from service.api.streaming.close_codes import CODES_OF_ENDS
from service.api.streaming.lifetime import StreamEnd
from service.keys import store
from service.keys.scopes import Scope
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.stream_calls import wait_close_code
from tests.support.stream_server import open_server

pytestmark = pytest.mark.anyio


async def test_the_streams_of_a_key_end_when_another_process_revokes_it(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    server = await stack.enter_async_context(open_server(users_settings))
    body = {"name": "screen", "scopes": [Scope.EXPORTS_READ]}
    key = (await server.client.post("/api/keys", json=body, headers=bearer("ada"))).json()
    sent = {"authorization": f"Bearer {key['key']}"}
    ticket = (await server.client.post("/api/stream-tickets", headers=sent)).json()["ticket"]
    path = "/api/exports/events"
    of_key = await stack.enter_async_context(server.events(path, **sent))
    of_ticket = await stack.enter_async_context(server.events(f"{path}?ticket={ticket}"))
    of_user = await stack.enter_async_context(server.events(path, **bearer("ada")))
    socket = await stack.enter_async_context(
        connect(f"ws://{server.address}/ws/exports", additional_headers=sent)
    )
    for stream in (of_key, of_ticket, of_user):
        assert await stream.snapshot() == []
    async with server.uvicorn.lifespan.state["database"].transaction() as session:
        await store.revoke(session, key["id"], None, now=time.time())
    for stream in (of_key, of_ticket):
        (end,) = await stream.read_rest()
        assert (end.type, end.job) == ("stream.expired", {"reason": "token_expired"})
    assert await wait_close_code(socket) == CODES_OF_ENDS[StreamEnd.EXPIRED]
    await server.post_export(user="ada", headers=bearer("ada"))
    assert await of_user.next() is not None
    refused = await server.client.get(f"{path}?ticket={ticket}")
    assert refused.status_code == 401
