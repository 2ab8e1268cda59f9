"""A connection to PostgreSQL that is dead without a word is noticed, replaced, and what was missed is read."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from infra.database.base import ChangedRow
from infra.database.postgresql import PostgresDatabase
from service.settings import Settings, load_settings
from tests.support.frozen_tunnel import FreezableTunnel, open_tunnel
from tests.support.stream_server import open_server

SOON_SECONDS = 20
"""Far less than any time-out of a statement, and far more than a busy machine takes."""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def tunnel(postgresql_url: str, stack: AsyncExitStack) -> FreezableTunnel:
    return await stack.enter_async_context(open_tunnel(postgresql_url))


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return load_settings(
        data_dir=data_dir, host="127.0.0.1", port=8000, callback_secret="m" * 40, _env_file=""
    )


async def ignore(_changed: Sequence[ChangedRow]) -> None:
    return


async def test_a_line_that_says_nothing_more_ends(tunnel: FreezableTunnel) -> None:
    database = PostgresDatabase(tunnel.url)
    ready = asyncio.Event()

    async def note_ready() -> None:
        ready.set()

    line = asyncio.create_task(database.listen(note_ready, ignore))
    async with asyncio.timeout(SOON_SECONDS):
        await ready.wait()
        tunnel.freeze()
        await line
    await database.close()


async def test_a_line_ends_that_dies_while_what_was_missed_is_read(tunnel: FreezableTunnel) -> None:
    database = PostgresDatabase(tunnel.url)
    reading = asyncio.Event()

    async def read_for_ever() -> None:
        reading.set()
        await asyncio.Event().wait()

    line = asyncio.create_task(database.listen(read_for_ever, ignore))
    async with asyncio.timeout(SOON_SECONDS):
        await reading.wait()
        tunnel.freeze()
        await line
    await database.close()


async def test_what_reading_raises_ends_the_line_and_is_told(tunnel: FreezableTunnel) -> None:
    database = PostgresDatabase(tunnel.url)

    async def fail() -> None:
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        await database.listen(fail, ignore)
    await database.close()


async def test_pooled_connections_that_are_dead_are_replaced_before_they_are_used(
    tunnel: FreezableTunnel,
) -> None:
    database = PostgresDatabase(tunnel.url)
    await database.check()
    tunnel.freeze()
    async with asyncio.timeout(SOON_SECONDS):
        await database.check()
    await database.close()


async def test_a_caller_that_is_cancelled_leaves_a_dead_connection(tunnel: FreezableTunnel) -> None:
    database = PostgresDatabase(tunnel.url)
    frozen = asyncio.Event()

    async def read() -> None:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
            tunnel.freeze()
            frozen.set()
            await session.execute(text("SELECT 1"))

    reading = asyncio.create_task(read())
    await frozen.wait()
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading], timeout=SOON_SECONDS)
    assert reading.cancelled()
    await database.close()


async def test_the_kernel_watches_idle_connections(tunnel: FreezableTunnel) -> None:
    database = PostgresDatabase(tunnel.url)
    connection = await database._connect()
    peer = connection._transport.get_extra_info("socket")
    assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    connection.terminate()
    await database.close()


async def test_a_reader_is_told_what_another_replica_took_in_while_the_line_was_dead(
    settings: Settings, stack: AsyncExitStack, tunnel: FreezableTunnel, postgresql_url: str
) -> None:
    direct = settings.model_copy(update={"database_url": postgresql_url})
    through = settings.model_copy(update={"database_url": tunnel.url})
    here = await stack.enter_async_context(open_server(direct))
    there = await stack.enter_async_context(open_server(through, here.runner))  # either may start it
    run = await here.submit_export()
    await here.wait_for_call_id(run)
    async with there.events(f"/api/exports/{run.spec.job_id}/events") as events, asyncio.timeout(60):
        assert await events.next() is not None
        tunnel.freeze()
        await run.report_started()
        await run.report_failed()
        assert (await events.read_rest())[-1].type == "export.failed"
