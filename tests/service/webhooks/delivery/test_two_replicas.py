"""Two replicas have no two states of one export under way at once: nobody knows which of them would arrive first."""

import pytest

from callbacks.envelope import EventType
from service.webhooks import endpoint_status
from service.webhooks.models import DisabledReason
from tests.service.webhooks.replica_pair import Replicas
from tests.service.webhooks.webhook_harness import Shop


@pytest.mark.parametrize("switched", [False, True], ids=["simply", "disabled and enabled meanwhile"])
async def test_newer_news_waits_for_what_another_replica_is_sending(shop: Shop, switched: bool) -> None:
    endpoint = await shop.endpoint(events=["export.progress", "export.completed"])
    await shop.submitted("job-1")
    replicas = Replicas(shop)
    await replicas.rounds([0])
    if switched:
        async with shop.database.transaction() as session:
            now = shop.clock.now
            await endpoint_status.disable(session, endpoint.endpoint_id, DisabledReason.BY_USER, now=now)
            await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
    await shop.told(EventType.COMPLETED, "job-1", 1)
    await replicas.rounds([1])
    assert [one.job["sequence"] for one in replicas.arrivals] == [1]
    await replicas.answer(0, 500)
    await replicas.rounds([0])
    await replicas.rounds([1])
    assert [one.job["sequence"] for one in replicas.arrivals] == [1, 2]
    await replicas.served()
