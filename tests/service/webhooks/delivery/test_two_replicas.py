"""Two replicas never send two states of one export at the same time."""

import pytest

from callbacks.envelope import EventType
from service.webhooks import endpoint_status
from service.webhooks.models import DisabledReason
from tests.service.webhooks.replica_pair import ReplicaPair
from tests.service.webhooks.webhook_harness import WebhookHarness


@pytest.mark.parametrize("switched", [False, True], ids=["simply", "disabled and enabled meanwhile"])
async def test_a_newer_event_waits_for_what_another_replica_is_sending(
    harness: WebhookHarness, switched: bool
) -> None:
    endpoint = await harness.create_endpoint(events=["export.progress", "export.completed"])
    await harness.submit_export("job-1")
    replicas = ReplicaPair(harness)
    await replicas.run_rounds([0])
    if switched:
        async with harness.database.transaction() as session:
            now = harness.clock.now
            await endpoint_status.disable(session, endpoint.endpoint_id, DisabledReason.BY_USER, now=now)
            await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
    await harness.report(EventType.COMPLETED, "job-1", 1)
    await replicas.run_rounds([1])
    assert [arrival.job["sequence"] for arrival in replicas.arrivals] == [1]
    await replicas.respond(0, 500)
    await replicas.run_rounds([0])
    await replicas.run_rounds([1])
    assert [arrival.job["sequence"] for arrival in replicas.arrivals] == [1, 2]
    await replicas.deliver_everything()
