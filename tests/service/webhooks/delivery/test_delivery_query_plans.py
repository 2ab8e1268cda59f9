"""However long the backlog of one endpoint, and however many endpoints: what a round does is served by indexes."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.postgresql import PostgresDatabase
from service.webhooks import deliveries, endpoint_status, endpoints
from service.webhooks.deliveries import FinishedAttempt
from service.webhooks.due_query import select_due
from service.webhooks.models import DELIVERIES, ENDPOINTS, DisabledReason
from service.webhooks.retry_policy import AttemptResult
from tests.service.webhooks import webhook_harness as shops
from tests.service.webhooks.webhook_harness import BEGIN, Shop
from tests.support.job_factory import Row

BACKLOG, HISTORY, ENDPOINTS_MANY = 5_000, 5_000, 200
DEAD = "ep_dead"
Work = Callable[[AsyncSession], Awaitable[Any]]


@pytest.fixture
async def busy(either: Database) -> Any:
    """A shop with a dead endpoint's backlog, a history that is as long, and many endpoints with one delivery each."""
    async with shops.opened(either) as shop:
        await _fill(shop)
        yield shop


async def _fill(shop: Shop) -> None:
    names = [DEAD, *(f"ep_{number:04}" for number in range(ENDPOINTS_MANY))]
    endpoint: Row = {"user_id": "ada", "url": "https://a/", "description": "", "events": "export.completed"}
    endpoint |= {"secret": "whsec_", "enabled": True, "created_at": BEGIN}
    pending = [_row(f"p{number:05}", DEAD, "pending") for number in range(BACKLOG)]
    ended = [_row(f"h{number:05}", DEAD, "delivered") for number in range(HISTORY)]
    others = [_row(f"o{number:05}", name, "pending") for number, name in enumerate(names[1:])]
    async with shop.database.transaction() as session:
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
    finished = [FinishedAttempt(one.delivery, AttemptResult(0.1, status=500)) for one in claimed]
    assert len(finished) == 50
    await deliveries.record_results(session, finished, random=lambda: 0.5, now=BEGIN)


WORK: dict[str, Work] = {
    "due": lambda session: select_due(session, each=8, in_flight_here=["p00001"], now=BEGIN),
    "claim and record": _claim_and_record,
    "forget": lambda session: endpoints.delete_deliveries(session, "ep_0001"),
    "give up": lambda session: endpoint_status.fail_pending(session, ["ep_gone"], now=BEGIN),
    "disable": lambda session: endpoint_status.disable(session, DEAD, DisabledReason.BY_USER, now=BEGIN),
}


async def test_no_statement_reads_through_all_deliveries(busy: Shop) -> None:
    scans: dict[str, list[str]] = {}
    for name, work in WORK.items():
        async with busy.database.transaction() as session:
            with _statements(await session.connection()) as seen:
                await work(session)
            assert seen
            found = [await _scans(session, busy.database, *statement) for statement in seen]
        scans[name] = [step for steps in found for step in steps]
    assert {name: steps for name, steps in scans.items() if steps} == {}


async def test_of_a_backlog_a_round_sees_as_many_as_it_could_send(busy: Shop) -> None:
    async with busy.database.reading() as session:
        found = await select_due(session, each=8, in_flight_here=[], now=BEGIN)
    assert len(found) == ENDPOINTS_MANY + 1
    assert {len(one.due) for one in found if one.endpoint_id == DEAD} == {8}


@contextmanager
def _statements(connection: Any) -> Iterator[list[tuple[str, Any]]]:
    found: list[tuple[str, Any]] = []

    def seen(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        one = parameters[0] if isinstance(parameters, list) else parameters
        if not statement.startswith("INSERT"):
            found.append((statement, one))

    event.listen(connection.sync_connection, "before_cursor_execute", seen)
    yield found
    event.remove(connection.sync_connection, "before_cursor_execute", seen)


async def _scans(session: AsyncSession, database: Database, statement: str, parameters: Any) -> list[str]:
    """The steps of the statement's plan that read all of the deliveries."""
    connection = await session.connection()
    if isinstance(database, PostgresDatabase):
        # A test's tables are so short that reading them whole may be the best plan: is there one that need not?
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        found = plan.scalar_one()
        return _sequential(json.loads(found) if isinstance(found, str) else found)
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [str(row["detail"]) for row in rows.mappings()]
    tables = ("webhook_deliveries", "due", "older", "newer", "later")
    return [step for step in steps if step.startswith(tuple(f"SCAN {table}" for table in tables))]


def _sequential(plan: Any) -> list[str]:
    if isinstance(plan, list):
        return [step for one in plan for step in _sequential(one)]
    if not isinstance(plan, dict):
        return []
    reads_all = plan.get("Node Type") == "Seq Scan" and plan.get("Relation Name") == "webhook_deliveries"
    own = [str(plan.get("Alias"))] if reads_all else []
    return own + [step for one in plan.values() for step in _sequential(one)]
