"""No statement that runs for a user, a callback or a claim may scan what has finished long ago."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database import Database, sqlite_url
from service import leases, queries, schema
from service.models import Status

pytestmark = pytest.mark.anyio

Read = Callable[[AsyncSession], Awaitable[Any]]
NOW = time.time()

READS: dict[str, Read] = {
    "get": lambda session: queries.get(session, "alice", "a"),
    "active": lambda session: queries.active(session, "alice"),
    "recent": lambda session: queries.recent(session, "alice", since=NOW),
    "unacknowledged": lambda session: queries.unacknowledged(session, "alice"),
    "stream": lambda session: queries.current(session, "alice", since=NOW),
    "page": lambda session: queries.page(session, "alice", status=None, type_=None, before="b", limit=50),
    "page of one status": lambda session: queries.page(
        session, "alice", status=Status.ERROR, type_=None, before="b", limit=50
    ),
    "quota": lambda session: queries.count_active(session, "alice"),
    "metrics": queries.active_by_status,
    "claim": lambda session: leases.claim(session, places=4, per_user=2, lease_seconds=30, now=NOW),
    "lapsed": lambda session: leases.lapsed(session, now=NOW),
    "silent": lambda session: leases.silent(session, silence_seconds=60, now=NOW),
    "overdue": lambda session: leases.overdue(session, started_before=NOW, spawned_before=NOW, now=NOW),
    "ended": lambda session: leases.by_call(session, ["call"], now=0.0),
    "left over": lambda session: leases.left_over(session, "local", of_this_instance="local-1-"),
}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = sqlite_url(tmp_path / "framehook.db")
    schema.upgrade(url)
    found = Database(url)
    yield found
    await found.close()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_every_statement_is_served_by_an_index(database: Database, read: Read) -> None:
    statements: list[tuple[str, Any]] = []

    def seen(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        statements.append((statement, parameters))

    async with database.transaction() as session:
        connection = await session.connection()
        event.listen(connection.sync_connection, "before_cursor_execute", seen)
        await read(session)
        event.remove(connection.sync_connection, "before_cursor_execute", seen)
        plans = [await _plan(session, *statement) for statement in statements]
    assert plans
    scans = [step for plan in plans for step in plan if step.startswith("SCAN export_jobs")]
    assert [step for step in scans if "USING" not in step or "ix_export_jobs_active" not in step] == []


async def _plan(session: AsyncSession, statement: str, parameters: Any) -> list[str]:
    connection = await session.connection()
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return [str(row["detail"]) for row in rows.mappings()]
