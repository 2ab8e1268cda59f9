"""No statement that runs for a user, a callback or a claim may scan what has finished long ago."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.base import BatchConnection
from infra.database.postgresql import PostgresDatabase
from infra.database.postgresql_batch import PostgresBatch
from infra.database.sqlite import SqliteDatabase, sqlite_url
from infra.database.sqlite_batch import SqliteBatch
from service import schema
from service.ingest import sql
from service.ingest.apply import REPORTED, apply_all
from tests.service.hot_reads import HOT_READS, NOW, Read
from tests.support.job_factory import build_change

pytestmark = pytest.mark.anyio

PROCESSING = """
INSERT INTO export_jobs (job_id, user_id, type, config, input_key, output_key, status, phase, progress, message,
    attempt, attempt_limit, run, step, sequence, transition_sequence, runner, call_id, not_before, created_at,
    gpu_seconds)
SELECT 'active-' || n, 'user-1', 'framing', repeat('x', 300), 'uploads/a.mp4', 'exports/a.mp4', 'processing',
    'processing', 0, '', 1, 3, '', 0, 1, 1, 'modal', 'fc-' || n, 0, 0, 0 FROM generate_series(1, 3000) AS numbers (n)
"""

# What an earlier test left behind: of a table full of dead rows the planner may expect that it has very few.
_TABLES = "('export_jobs'::regclass, 'webhook_endpoints'::regclass)"
FORGET_STATISTICS = (
    f"DELETE FROM pg_statistic WHERE starelid IN {_TABLES}",  # noqa: S608
    f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid IN {_TABLES}",  # noqa: S608
)


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


@pytest.mark.parametrize("statement", ["TICK", "QUIET_TICK", "ADVANCE"])
async def test_postgresql_looks_them_up_in_a_table_that_was_never_analyzed(
    postgresql_url: str, statement: str
) -> None:
    database = PostgresDatabase(postgresql_url)
    plan: list[str] = []

    async def work(batch: BatchConnection) -> None:
        assert isinstance(batch, PostgresBatch)
        for forget in FORGET_STATISTICS:
            await batch.fetch(forget)
        await batch.fetch(PROCESSING)
        await batch.fetch("SET LOCAL enable_seqscan = off")  # for a table as short as this one it may be best
        staged = await batch.stage(REPORTED, [])
        explain = f"EXPLAIN {staged._with} {getattr(sql, statement)}"
        plan.extend(line for (line,) in await batch._connection.fetch(explain, "[]"))
        raise _UndoError

    with pytest.raises(_UndoError):
        await database.batch(work)
    await database.close()
    scans = [
        step.partition("  (cost")[0].strip() for step in plan if "Scan" in step and " export_jobs" in step
    ]
    assert scans == ["->  Index Scan using export_jobs_pkey on export_jobs"]


class _UndoError(Exception):
    """Raised to undo a batch."""


async def _plan(session: AsyncSession, statement: str, parameters: Any) -> list[str]:
    connection = await session.connection()
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return [str(row["detail"]) for row in rows.mappings()]
