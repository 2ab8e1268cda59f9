"""A rate limit holds for its endpoint, across replicas and restarts, and for no other endpoint."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.database.base import Database
from service.webhooks import endpoints
from service.webhooks.models import Endpoint
from service.webhooks.scheduling.claims import WorkerConfig
from service.webhooks.scheduling.pacing import TOLERANCE_SECONDS, Pace
from tests.service.webhooks.replica_pair import ReplicaPair
from tests.service.webhooks.webhook_harness import BEGIN, URL, Clock, WebhookHarness, open_harness
from tests.support.stream_server import wait_until

OTHER_URL = "https://other.example/hook"


async def create_limited(harness: WebhookHarness, per_second: float, url: str = URL) -> Endpoint:
    return await harness.create_endpoint(url, options={"rate_limit": per_second})


@given(
    per_second=st.floats(0.01, 100),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_time_has_more_starts_than_its_rate_allows(per_second: float, pauses: Sequence[float]) -> None:
    pace, now, starts = Pace(per_second), BEGIN, list[float]()
    for pause in pauses:
        now += pause
        count = pace.count_allowed(now)
        pace = pace.advance(count, now) if count else pace
        starts += [now] * count
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            allowed = (starts[last] - begin + TOLERANCE_SECONDS) * per_second + 1
            assert last - first + 1 <= allowed + 2e-3


def test_a_backlog_gets_its_whole_rate_although_rounds_come_late() -> None:
    pace, count = Pace(10), 0
    for number in range(100):
        now = BEGIN + number * 0.113  # a round each 113 ms
        allowed = pace.count_allowed(now)
        pace, count = (pace.advance(allowed, now) if allowed else pace), count + allowed
    assert count == pytest.approx(100 * 0.113 * 10, abs=3)


@pytest.mark.parametrize("ahead", [11.0, 86_400.0], ids=["the limit was raised", "the clock was set back"])
def test_a_moment_that_is_too_far_ahead_is_no_reason_to_wait(ahead: float) -> None:
    assert Pace(0.1, BEGIN + 9).count_allowed(BEGIN) == 0
    assert Pace(0.1, BEGIN + ahead).count_allowed(BEGIN) == 1
    assert Pace(0.1, BEGIN + ahead).advance(1, BEGIN).next_at == BEGIN + 10


async def test_a_limited_endpoint_gets_its_backlog_in_order_and_delays_no_other(
    harness: WebhookHarness,
) -> None:
    limited = await create_limited(harness, 2.0)
    other = await harness.create_endpoint(OTHER_URL)
    for _ in range(6):
        await harness.add_backlog(limited, 1)
        harness.clock.advance(0.002)
    await harness.add_backlog(other, 20)
    await harness.deliver_all()
    assert [str(request.url) for request in harness.received].count(OTHER_URL) == 20
    for expected in range(1, 7):
        ids = list_ids(harness)
        assert len(ids) == expected
        harness.clock.advance(0.3)
        await harness.deliver_all()
        assert list_ids(harness) == ids
        harness.clock.advance(0.2)
        await harness.deliver_all()
    assert list_ids(harness) == sorted(list_ids(harness))
    assert {row["state"] for row in await harness.load_deliveries()} == {"delivered"}


def list_ids(harness: WebhookHarness) -> list[str]:
    """Return the ids that the limited endpoint got, in order; ids of later events are greater."""
    return [request.headers["webhook-id"] for request in harness.received if str(request.url) == URL]


async def test_two_replicas_share_a_limit_and_a_restart_does_not_reset_it(harness: WebhookHarness) -> None:
    await create_limited(harness, 1.0)
    for number in range(8):
        await harness.complete_export(f"job-{number}")
    replicas = ReplicaPair(harness, accept_all=True)
    for second in range(4):
        for _ in range(3):
            await replicas.run_rounds([0, 1])
        await replicas.kill(0)
        await replicas.stop(1)
        await replicas.run_rounds([0, 1])
        assert len(replicas.arrivals) == second + 1
        harness.clock.advance(1)


async def test_a_raised_and_a_removed_limit_count_at_once(harness: WebhookHarness) -> None:
    limited = await create_limited(harness, 0.01)
    await harness.add_backlog(limited, 9)
    await harness.deliver_all()
    assert len(harness.received) == 1
    await set_limit(harness, limited, 100.0)
    await harness.worker.run_round()
    await harness.worker.wait_idle()
    assert len(harness.received) > 1
    await set_limit(harness, limited, None)
    await harness.deliver_all()
    assert len(harness.received) == 9


async def set_limit(harness: WebhookHarness, endpoint: Endpoint, per_second: float | None) -> None:
    async with harness.database.transaction() as session:
        await endpoints.update_fields(
            session, endpoint.user_id, endpoint.endpoint_id, {"rate_limit": per_second}
        )


class RunningClock(Clock):
    """A wall clock that goes on by itself."""

    def __call__(self) -> float:
        return self.now + time.monotonic()


async def test_the_worker_wakes_when_the_limit_allows_the_next_delivery(any_database: Database) -> None:
    never_poll = WorkerConfig(idle_seconds=3_600)
    async with open_harness(any_database, config=never_poll, clock=RunningClock()) as harness:
        limited = await create_limited(harness, 20.0)
        await harness.add_backlog(limited, 5)
        running = asyncio.create_task(harness.worker.run())
        await wait_until(lambda: len(harness.received) == 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
