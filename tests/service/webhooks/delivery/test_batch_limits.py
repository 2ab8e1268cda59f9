"""Statements that work in batches change no more rows than a batch, with any query plan."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.postgresql import PostgresDatabase
from service.webhooks import clock_steps, endpoint_status, endpoints
from service.webhooks.models import DisabledReason
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness
from tests.support.job_factory import Row

DAY = 86_400.0
Work = Callable[[AsyncSession, str], Awaitable[object]]
WORK: dict[str, Work] = {
    "disable": lambda session, endpoint_id: endpoint_status.disable(
        session, endpoint_id, DisabledReason.BY_USER, now=BEGIN
    ),
    "delete": endpoints.delete_deliveries,
    "correct times": lambda session, _: clock_steps.correct_pending(session, now=BEGIN - DAY),
}


async def force_nested_loops(session: AsyncSession, database: Database) -> None:
    """Let PostgreSQL plan as it does with outdated statistics."""
    if isinstance(database, PostgresDatabase):
        for method in ("hashjoin", "mergejoin", "hashagg", "sort", "material"):
            await session.execute(text(f"SET LOCAL enable_{method} = off"))


async def load_rows(harness: WebhookHarness) -> dict[str, Row]:
    return {str(row["delivery_id"]): row for row in await harness.load_deliveries()}


@pytest.mark.parametrize("name", WORK)
async def test_a_batch_changes_as_many_rows_as_it_has(harness: WebhookHarness, name: str) -> None:
    endpoint = await harness.create_endpoint()
    await harness.add_backlog(endpoint, 3 * endpoint_status.BATCH_ROWS)
    before = await load_rows(harness)
    async with harness.database.transaction() as session:
        await force_nested_loops(session, harness.database)
        await WORK[name](session, endpoint.endpoint_id)
    after = await load_rows(harness)
    changed = [delivery_id for delivery_id, row in before.items() if after.get(delivery_id) != row]
    assert len(changed) == endpoint_status.BATCH_ROWS == endpoints.BATCH_ROWS == clock_steps.BATCH_ROWS
