"""Indexes serve all statements of a round, for long backlogs and many endpoints."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.postgresql import PostgresDatabase
from service.webhooks import clock_steps, deliveries, endpoint_status, endpoints
from service.webhooks.deliveries import FinishedAttempt
from service.webhooks.models import DELIVERIES, ENDPOINTS, DisabledReason
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.due_query import find_ready, read_backlog, select_due
from service.webhooks.statistics import read_statistics
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness, open_harness
from tests.support.job_factory import Row

BACKLOG, HISTORY, ENDPOINT_COUNT = 5_000, 5_000, 200
DEAD = "ep_dead"
Work = Callable[[AsyncSession], Awaitable[Any]]


@pytest.fixture
async def busy_harness(any_database: Database) -> Any:
    """Fill a harness with one long backlog, a long history and many endpoints."""
    async with open_harness(any_database) as harness:
        await _fill(harness)
        yield harness


async def _fill(harness: WebhookHarness) -> None:
    names = [DEAD, *(f"ep_{number:04}" for number in range(ENDPOINT_COUNT))]
    endpoint: Row = {"user_id": "ada", "url": "https://a/", "description": "", "events": "export.completed"}
    endpoint |= {"secret": "whsec_", "enabled": True, "created_at": BEGIN}
    pending = [_row(f"p{number:05}", DEAD, "pending") for number in range(BACKLOG)]
    ended = [_row(f"h{number:05}", DEAD, "delivered") for number in range(HISTORY)]
    others = [_row(f"o{number:05}", name, "pending") for number, name in enumerate(names[1:])]
    async with harness.database.transaction() as session:
        await session.execute(insert(ENDPOINTS), [endpoint | {"endpoint_id": name} for name in names])
        await session.execute(insert(DELIVERIES), pending + ended + others)
        await session.execute(text("ANALYZE"))


def _row(delivery_id: str, endpoint_id: str, state: str) -> Row:
    ended_at = None if state == "pending" else BEGIN
    row: Row = {"delivery_id": delivery_id, "endpoint_id": endpoint_id, "state": state, "ended_at": ended_at}
    row |= {
        "user_id": "ada",
        "job_id": delivery_id,
        "sequence": 2,
        "type": "export.completed",
        "payload": "{}",
    }
    return row | {"tries": 0, "attempts": 0, "requested": False, "next_at": BEGIN, "created_at": BEGIN}


async def _claim_and_record(session: AsyncSession) -> None:
    ids = [f"o{number:05}" for number in range(50)]
    await deliveries.supersede_stale(session, ids, now=BEGIN)
    claimed = await deliveries.claim(session, ids, lease_seconds=60, now=BEGIN)
    finished = [FinishedAttempt(item.delivery, AttemptResult(0.1, status=500)) for item in claimed]
    assert len(finished) == 50
    await deliveries.record_results(session, finished, random=lambda: 0.5, now=BEGIN)


WORK: dict[str, Work] = {
    "due": lambda session: select_due(
        session, endpoint_ids=["ep_0001", DEAD], each=8, in_flight_here=["p00001"], now=BEGIN
    ),
    "ready": lambda session: find_ready(session, now=BEGIN),
    "claim and record": _claim_and_record,
    "forget": lambda session: endpoints.delete_deliveries(session, "ep_0001"),
    "give up": lambda session: endpoint_status.fail_pending(session, ["ep_gone"], now=BEGIN),
    "statistics": lambda session: read_statistics(session, DEAD, now=BEGIN),
    "resume": lambda session: deliveries.release_all(session, lease_seconds=60, now=BEGIN),
    "look for times ahead": lambda session: clock_steps.correct_pending(session, now=BEGIN),
    "disable": lambda session: endpoint_status.disable(session, DEAD, DisabledReason.BY_USER, now=BEGIN),
}


async def test_no_statement_scans_all_deliveries(busy_harness: WebhookHarness) -> None:
    scans: dict[str, list[str]] = {}
    for name, work in WORK.items():
        async with busy_harness.database.transaction() as session:
            with _record_statements(await session.connection()) as statements:
                await work(session)
            assert statements
            rows = [await _find_scans(session, busy_harness.database, *statement) for statement in statements]
        scans[name] = [step for steps in rows for step in steps]
    assert {name: steps for name, steps in scans.items() if steps} == {}


async def test_the_backlog_is_counted_without_reading_its_rows(
    busy_harness: WebhookHarness, any_database: Database
) -> None:
    async with busy_harness.database.reading() as session:
        with _record_statements(await session.connection()) as statements:
            assert (await read_backlog(session, BEGIN)).pending == BACKLOG + ENDPOINT_COUNT
        ((statement, parameters),) = statements
        plan = await _explain(session, any_database, statement, parameters)
    if isinstance(any_database, PostgresDatabase):  # it reads the rows of pages that no vacuum has seen
        assert _find_sequential_scans(json.loads(plan)) == []
    else:
        assert "COVERING INDEX ix_webhook_deliveries_scheduled" in plan


async def test_a_round_selects_as_many_of_a_backlog_as_it_could_send(busy_harness: WebhookHarness) -> None:
    async with busy_harness.database.reading() as session:
        endpoint_ids = await find_ready(session, now=BEGIN)
        rows = await select_due(session, endpoint_ids=endpoint_ids, each=8, in_flight_here=[], now=BEGIN)
    assert len(rows) == ENDPOINT_COUNT + 1
    assert {len(item.due) for item in rows if item.endpoint_id == DEAD} == {8}


@contextmanager
def _record_statements(connection: Any) -> Iterator[list[tuple[str, Any]]]:
    rows: list[tuple[str, Any]] = []

    def statements(
        _connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object
    ) -> None:
        item = parameters[0] if isinstance(parameters, list) else parameters
        if not statement.startswith("INSERT"):
            rows.append((statement, item))

    event.listen(connection.sync_connection, "before_cursor_execute", statements)
    yield rows
    event.remove(connection.sync_connection, "before_cursor_execute", statements)


async def _find_scans(
    session: AsyncSession, database: Database, statement: str, parameters: Any
) -> list[str]:
    """Return the steps of the statement's plan that read all deliveries."""
    plan = await _explain(session, database, statement, parameters)
    if isinstance(database, PostgresDatabase):
        return _find_sequential_scans(json.loads(plan))
    tables = ("webhook_deliveries", "webhook_attempts", "due", "older", "newer", "later")
    return [step for step in plan.splitlines() if step.startswith(tuple(f"SCAN {table}" for table in tables))]


async def _explain(session: AsyncSession, database: Database, statement: str, parameters: Any) -> str:
    """Return the plan of a statement: JSON from PostgreSQL, a line for each step from SQLite."""
    connection = await session.connection()
    if isinstance(database, PostgresDatabase):
        # For short tables a full scan may be the best plan; without it, is there a plan that needs none?
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        rows = plan.scalar_one()
        return rows if isinstance(rows, str) else json.dumps(rows)
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return "\n".join(str(row["detail"]) for row in rows.mappings())


def _find_sequential_scans(plan: Any) -> list[str]:
    if isinstance(plan, list):
        return [step for item in plan for step in _find_sequential_scans(item)]
    if not isinstance(plan, dict):
        return []
    reads_all = plan.get("Node Type") == "Seq Scan" and plan.get("Relation Name") in {
        "webhook_deliveries",
        "webhook_attempts",
    }
    own = [str(plan.get("Alias"))] if reads_all else []
    return own + [step for item in plan.values() for step in _find_sequential_scans(item)]
