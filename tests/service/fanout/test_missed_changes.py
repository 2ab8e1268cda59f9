"""What the streams of a replica get after its line to the database was cut."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from infra.database.base import ChangedRow
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.notification_channel import NotificationChannel
from service.fanout.publications import NoticeType
from service.fanout.subscribers import HubClosed, Subscriber
from service.jobs.serializers import JobSerializer
from service.webhooks.listeners.connections import Listeners
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.job_factory import NoCleanup

pytestmark = pytest.mark.anyio


class NewLine:
    """A line to the database that was just opened, on which nothing comes."""

    async def listen(
        self,
        on_ready: Callable[[], Awaitable[None]],
        _on_changes: Callable[[Sequence[ChangedRow]], Awaitable[None]],
    ) -> None:
        await on_ready()


@pytest.mark.parametrize("ahead_seconds", [0.0, 10_800.0], ids=["", "the clock was set back meanwhile"])
async def test_a_stream_of_all_exports_gets_an_erasure_that_its_replica_missed(
    app: AppHarness, ahead_seconds: float
) -> None:
    clock = MovableClock()
    clock.step_seconds = ahead_seconds
    job = await app.submit_export()
    hub, subscriber = Hub(), Subscriber()
    changes = JobChanges(hub, JobSerializer(""), NoCleanup())
    channel = NotificationChannel(app.database, NewLine(), hub, changes, Listeners(), clock.clock.wall)
    clock.step_seconds = 0
    hub.subscribe(subscriber, user_id="local")
    assert (await app.client.delete(f"/api/exports/{job['job_id']}?purge=true")).status_code == 204
    await channel.run()
    await channel.run()  # cut again
    hub.close()
    erased = await subscriber.next()
    assert (erased.type, erased.job_id) == (NoticeType.EXPORT_ERASED, job["job_id"])
    with pytest.raises(HubClosed):  # nothing came twice
        await subscriber.next()
