"""A database that goes away and comes back: what requests, streams and the line between replicas do meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from sqlalchemy import text

from infra.database.base import ChangedRow
from infra.database.postgresql import PostgresDatabase
from tests.faults.cluster.cluster import World, opened
from tests.faults.cluster.postgres import Postgres

JOB = "01a20ab5-c154-746a-a04c-79f98868b245"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with opened(postgresql=True) as world:
        yield world


async def asked(world: World, path: str, bearer: str, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{world.replicas[0].port}{path}"
    return await world.http.get(url, headers={"Authorization": f"Bearer {bearer}", **headers})


def database_of(world: World) -> Postgres:
    assert world.postgres is not None
    return world.postgres


async def test_a_request_is_asked_to_come_again(world: World) -> None:
    bearer = world.move_in("ada")
    await database_of(world).stop(crash=False)
    try:
        listed = await asked(world, "/api/exports/active", bearer)
        streamed = await asked(world, f"/api/exports/{JOB}/events", bearer)
    finally:
        await database_of(world).start()
    assert (listed.status_code, listed.headers["retry-after"]) == (503, "2")
    assert listed.json()["type"] == "urn:framehook:problem:unavailable"
    # An EventSource that is answered 503 gives up for good; after this one it comes back.
    assert (streamed.status_code, "retry: 2000" in streamed.text) == (200, True)
    await world.ready()
    assert (await asked(world, "/api/exports/active", bearer)).status_code == 200


async def test_a_lost_line_is_noticed_at_once(world: World) -> None:
    database = PostgresDatabase(database_of(world).url)
    listening = asyncio.Event()

    async def ready() -> None:
        listening.set()

    async def heard(_changed: Sequence[ChangedRow]) -> None:
        return

    line = asyncio.create_task(database.listen(ready, heard))
    await asyncio.wait_for(listening.wait(), 10)
    begun = time.monotonic()
    await database_of(world).cut_lines()
    await asyncio.wait_for(line, 9)  # less than the pause between its own looks
    assert time.monotonic() - begun < 5
    await database.close()


async def test_no_process_keeps_locks_while_it_stands_still(world: World) -> None:
    database = PostgresDatabase(database_of(world).url)
    async with database.reading() as session:
        bound = (await session.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one()
    await database.close()
    assert bound == "10s"
