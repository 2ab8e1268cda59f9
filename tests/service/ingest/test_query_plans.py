"""No statement that runs for a user, a callback or a claim may scan what has finished long ago."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType, Phase
from infra.database.base import BatchConnection
from infra.database.sqlite import SqliteDatabase, sqlite_url
from infra.database.sqlite_batch import SqliteBatch
from service import schema
from service.ingest.apply import apply_all
from service.jobs import acknowledgements, leases, queries
from service.jobs.filters import ExportFilter
from service.jobs.models import Status
from tests.support.job_factory import build_change

pytestmark = pytest.mark.anyio

Read = Callable[[AsyncSession], Awaitable[Any]]
NOW = time.time()

WATCHED = [
    leases.WatchedJob(
        job_id=f"job-{number}",
        attempt=1,
        status=Status.PROCESSING,
        phase=Phase.PROCESSING,
        sequence=4,
        call_id="call",
        lease_until=NOW,
    )
    for number in range(3)
]

IN_PROJECT = ExportFilter(frozenset({Status.COMPLETE, Status.ERROR}), frozenset({"framing"}), "7")
IN_ORDER = ExportFilter(
    frozenset({Status.COMPLETE}), project_id="7", metadata=(("k", "v"), ("n", "5")), created_after=NOW
)

READS: dict[str, Read] = {
    "get": lambda session: queries.get(session, "alice", "a"),
    "holder": lambda session: queries.find_key_holder(session, "alice", "a.mp4", now=NOW),
    "active": lambda session: queries.list_active(session, "alice"),
    "recent": lambda session: queries.list_recent(session, "alice", since=NOW),
    "unacknowledged": lambda session: queries.list_unacknowledged(session, "alice"),
    "stream": lambda session: queries.list_latest_finished(session, "alice", since=NOW, limit=200),
    "stream again": lambda session: queries.list_finished_since(
        session, "alice", since=NOW, after=None, limit=200
    ),
    "next page of it": lambda session: queries.list_finished_since(
        session, "alice", since=NOW, after=(NOW, "a"), limit=200
    ),
    "page": lambda session: queries.list_page(session, "alice", before="b", limit=50),
    "page of one status": lambda session: queries.list_page(
        session, "alice", ExportFilter(frozenset({Status.ERROR})), before="b", limit=50
    ),
    "page of a project": lambda session: queries.list_page(
        session, "alice", IN_PROJECT, before="b", limit=50
    ),
    "page by metadata": lambda session: queries.list_page(session, "alice", IN_ORDER, before="b", limit=50),
    "active page by metadata": lambda session: queries.list_page(
        session, "alice", replace(IN_ORDER, statuses=frozenset({Status.PENDING})), before="b", limit=50
    ),
    "page of a time": lambda session: queries.list_page(
        session, "alice", ExportFilter(created_after=NOW, created_before=NOW + 1), before=None, limit=50
    ),
    "edited": lambda session: queries.list_edited(
        session, "alice", *IN_ORDER.residual_conditions(with_earlier=True), since=NOW
    ),
    "stream of a project": lambda session: queries.list_latest_finished(
        session, "alice", *IN_PROJECT.residual_conditions(), since=NOW, limit=200
    ),
    "stream of a project again": lambda session: queries.list_finished_since(
        session,
        "alice",
        *IN_PROJECT.residual_conditions(with_earlier=True),
        since=NOW,
        after=(NOW, "a"),
        limit=200,
    ),
    "active of a project": lambda session: queries.list_active(
        session, "alice", *IN_PROJECT.residual_conditions(with_earlier=True)
    ),
    "acknowledged": lambda session: acknowledgements.acknowledge(session, "alice", ["a", "b"], now=NOW),
    "all acknowledged": lambda session: acknowledgements.acknowledge_all(session, "alice", now=NOW),
    "quota": lambda session: queries.count_active(session, "alice"),
    "metrics": queries.count_active_by_status,
    "claim": lambda session: leases.claim(session, slots=4, per_user=2, lease_seconds=30, now=NOW),
    "watched": leases.list_watched,
    "late": lambda session: leases.list_unchanged(session, WATCHED),
    "silent": lambda session: leases.lease_silent(session, WATCHED, lease_seconds=60, now=NOW),
    "long pauses": lambda session: leases.end_long_pauses(session, now=NOW),
    "ended": lambda session: leases.find_by_call(session, ["call"]),
    "left over": lambda session: leases.list_orphaned(session, "local", of_this_instance="local-1-"),
}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    url = sqlite_url(tmp_path / "framehook.db")
    schema.upgrade(url)
    database = SqliteDatabase(url)
    yield database
    await database.close()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
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
