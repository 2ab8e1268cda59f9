"""PostgreSQL works through a pooler in session mode as it does without one."""

import asyncio

from sqlalchemy import text

from infra.database.base import BatchConnection
from infra.database.postgresql import IDLE_IN_TRANSACTION, PostgresDatabase
from service import schema
from tests.infra.database.pooler import run_pooler

SHOWN = "SHOW idle_in_transaction_session_timeout"


async def test_a_pooler_that_refuses_parameters_at_the_start_is_no_obstacle(postgresql_url: str) -> None:
    async with run_pooler(postgresql_url) as proxy:
        assert (await schema.read_schema(proxy.url)).age is schema.SchemaAge.CURRENT
        await asyncio.to_thread(schema.upgrade, proxy.url)
        database = PostgresDatabase(proxy.url)
        try:
            async with database.transaction() as session:
                assert (await session.execute(text(SHOWN))).scalar_one() == IDLE_IN_TRANSACTION
            assert await database.batch(_show_timeout) == IDLE_IN_TRANSACTION
        finally:
            await database.close()
        assert len(proxy.started) >= 4


async def _show_timeout(connection: BatchConnection) -> str:
    return str((await connection.fetch(SHOWN))[0][0])
