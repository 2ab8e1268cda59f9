"""No statement that runs for a user, a callback or a claim may scan what has finished long ago."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.base import BatchConnection
from infra.database.sqlite import SqliteDatabase, sqlite_url
from infra.database.sqlite_batch import SqliteBatch
from service import schema
from service.ingest.apply import apply_all
from tests.service.hot_reads import HOT_READS, NOW, Read
from tests.support.job_factory import build_change

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    url = sqlite_url(tmp_path / "framehook.db")
    schema.upgrade(url)
    database = SqliteDatabase(url)
    yield database
    await database.close()


@pytest.mark.parametrize("read", HOT_READS.values(), ids=HOT_READS)
async def test_every_statement_is_served_by_an_index(database: SqliteDatabase, read: Read) -> None:
    statements: list[tuple[str, Any]] = []

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        statements.append((statement, parameters))

    async with database.transaction() as session:
        connection = await session.connection()
        event.listen(connection.sync_connection, "before_cursor_execute", record)
        await read(session)
        event.remove(connection.sync_connection, "before_cursor_execute", record)
        plans = [await _plan(session, *statement) for statement in statements]
    assert plans
    scans = [step for plan in plans for step in plan if step.startswith("SCAN export_jobs")]
    assert [step for step in scans if "USING" not in step or "ix_export_jobs_active" not in step] == []
    of_user = [step for plan in plans for step in plan if step.endswith("ix_export_jobs_user (user_id=?)")]
    assert of_user == []  # it leads to all exports of the user
    entries = [step for plan in plans for step in plan if "job_metadata" in step]
    assert [step for step in entries if "(user_id=? AND entry=?" not in step] == []
    assert [step for plan in plans for step in plan if entries and "TEMP B-TREE" in step] == []


async def test_callbacks_look_their_jobs_up_whatever_the_planner_knows_of_the_table(
    database: SqliteDatabase,
) -> None:
    seen: list[str] = []

    async def work(batch: BatchConnection) -> None:
        assert isinstance(batch, SqliteBatch)
        connection = batch._connection
        connection.execute(
            "INSERT INTO sqlite_stat1 VALUES ('export_jobs', 'sqlite_autoindex_export_jobs_1', '9 1')"
        )
        connection.execute("ANALYZE sqlite_schema")  # reads that in
        connection.set_trace_callback(seen.append)
        await apply_all(batch, [build_change(EventType.PROGRESS, "a", 1, 1, now=NOW)])
        connection.set_trace_callback(None)
        plans = [
            step[3]
            for statement in seen
            if "UPDATE" in statement
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
        assert [plan for plan in plans if "export_jobs" in plan] == [
            "SEARCH export_jobs USING INDEX sqlite_autoindex_export_jobs_1 (job_id=?)"
        ] * 2

    async with database.transaction() as session:
        await session.execute(text("ANALYZE"))
    await database.batch(work)


async def _plan(session: AsyncSession, statement: str, parameters: Any) -> list[str]:
    connection = await session.connection()
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return [str(row["detail"]) for row in rows.mappings()]
