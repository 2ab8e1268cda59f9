"""Selecting and claiming follow the same rule about older events of an export."""

from typing import Any

import pytest
from sqlalchemy import update

from callbacks.envelope import EventType, Phase
from service.webhooks import deliveries
from service.webhooks.models import DELIVERIES
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness

PROGRESS = EventType.PROGRESS.value


@pytest.mark.parametrize(
    ("older", "in_flight_here", "is_due"),
    [
        pytest.param({"tries": 0}, False, False, id="never sent"),
        pytest.param({"lease_until": BEGIN + 60}, False, False, id="in flight elsewhere"),
        pytest.param({"tries": 1, "lease_until": BEGIN + 60}, False, False, id="in flight again elsewhere"),
        pytest.param({"tries": 1, "lease_until": BEGIN - 60}, True, False, id="in flight here for long"),
        pytest.param({"state": "failed", "lease_until": BEGIN + 60}, False, False, id="given up in flight"),
        pytest.param({"state": "failed"}, False, True, id="given up"),
        pytest.param({"tries": 1}, False, True, id="failed once"),
        pytest.param({"type": PROGRESS}, False, True, id="progress, never sent"),
        pytest.param({"state": "delivered"}, False, True, id="delivered"),
    ],
)
async def test_exactly_the_due_deliveries_can_be_claimed(
    harness: WebhookHarness, older: dict[str, Any], in_flight_here: bool, is_due: bool
) -> None:
    await harness.create_endpoint()
    await harness.submit_export("job-1")
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.report(EventType.COMPLETED, "job-1", 2)
    first, newer = (str(row["delivery_id"]) for row in await harness.load_deliveries())
    here = [first] if in_flight_here else []
    async with harness.database.transaction() as session:
        await session.execute(update(DELIVERIES).where(DELIVERIES.c.delivery_id == first).values(older))
        due = await harness.list_due(session, here)
        claimed = await deliveries.claim(session, [newer], lease_seconds=60, now=BEGIN, in_flight_here=here)
    assert (newer in due) is is_due
    assert [delivery_id.delivery.delivery_id for delivery_id in claimed] == ([newer] if is_due else [])
