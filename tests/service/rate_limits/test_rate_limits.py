"""A user may send so many requests in a minute, a full bucket at once, and no other user pays for it."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from service.api.access.rate_limits import (
    MAX_BUCKETS,
    SENDING_OPERATIONS,
    RateLimited,
    RateLimits,
    RouteClass,
)
from service.api.openapi.operations import find_operation
from service.api.routes import ROUTES
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
ADA, BOB = bearer("ada"), bearer("bob")
READS, WRITES, SENDS = RouteClass.READS, RouteClass.WRITES, RouteClass.WEBHOOK_SENDS


class Bucket:
    """Limits of `quota` reads in a minute, on a clock that the test sets."""

    def __init__(self, quota: int) -> None:
        self.now = 1_000.0
        self.limits = RateLimits({READS: quota, WRITES: 0}, lambda: self.now)

    def count_accepted(self, user_id: str = "ada") -> int:
        """Send requests until one is refused, and return how many were not."""
        return sum(1 for _ in self._send(user_id))

    def _send(self, user_id: str) -> Iterator[dict[str, str]]:
        try:
            while True:
                yield self.limits.take(READS, user_id)
        except RateLimited:
            return


def test_a_full_bucket_holds_a_minute_and_fills_up_evenly() -> None:
    bucket = Bucket(quota=120)
    assert bucket.count_accepted() == 120
    assert bucket.count_accepted("bob") == 120
    for seconds, accepted in ((0.4, 0), (0.2, 1), (10, 20), (3_600, 120)):
        bucket.now += seconds
        assert bucket.count_accepted() == accepted


@given(st.integers(1, 100_000), st.lists(st.floats(0, 90), max_size=20))
def test_no_minute_has_more_than_the_bucket_and_what_flows_in(quota: int, pauses: list[float]) -> None:
    bucket, accepted = Bucket(quota), 0
    for pause in pauses:
        bucket.now += pause
        for _ in range(3):
            try:
                headers = bucket.limits.take(READS, "ada")
            except RateLimited as refused:
                bucket.now += int(refused.headers["Retry-After"])
                headers = bucket.limits.take(READS, "ada")  # the promise is kept
            accepted += 1
            left = re.fullmatch(r'"reads";r=(\d+);t=(\d+)', headers["RateLimit"])
            assert left is not None
            assert int(left[1]) < quota
            assert 1 <= int(left[2]) <= 61
    assert accepted <= quota + (bucket.now - 1_000) * quota / 60 + 1e-3


class CountedTime(float):
    """A time that counts how often it is compared with another."""

    comparisons = 0

    def __lt__(self, other: float) -> bool:
        CountedTime.comparisons += 1
        return float(self) < other


def test_a_request_costs_no_more_when_many_users_wait() -> None:
    now = CountedTime(1_000.0)
    limits = RateLimits({READS: 5}, lambda: now)
    requests = MAX_BUCKETS + 500
    CountedTime.comparisons = 0
    for number in range(requests):
        limits.take(READS, f"user {number}")
    assert 0 < CountedTime.comparisons <= 4 * requests


def test_the_headers_say_what_is_left_and_when_there_is_more() -> None:
    bucket = Bucket(quota=2)
    lines = [bucket.limits.take(READS, "ada")["RateLimit"] for _ in range(2)]
    assert lines == ['"reads";r=1;t=30', '"reads";r=0;t=30']
    bucket.now += 12
    with pytest.raises(RateLimited) as refused:
        bucket.limits.take(READS, "ada")
    assert refused.value.headers == {
        "RateLimit-Policy": '"reads";q=2;w=60',
        "RateLimit": '"reads";r=0;t=18',
        "Retry-After": "18",
    }


def test_a_quota_of_nothing_is_no_limit_and_full_buckets_are_forgotten() -> None:
    bucket = Bucket(quota=60)
    assert bucket.limits.take(WRITES, "ada") == {}
    for number in range(MAX_BUCKETS):
        bucket.limits.take(READS, f"user {number}")
    bucket.now += 60
    bucket.limits.take(READS, "ada")
    assert len(bucket.limits._full_at) == 1


def test_the_operations_that_send_webhooks_exist() -> None:
    declared = [find_operation(route.endpoint) for route in ROUTES if isinstance(route, Route)]
    assert {operation[0].id for operation in declared if operation} >= SENDING_OPERATIONS


async def test_each_class_of_routes_is_limited_for_each_user(users_settings: Settings) -> None:
    limits = {"rate_limit_reads": 2, "rate_limit_writes": 3, "rate_limit_webhook_sends": 1}
    clock = MovableClock()
    settings = users_settings.model_copy(update=limits)
    async with open_app(settings, FakeRunner(), clock.clock) as app:
        client = app.client
        for left in (1, 0):
            answer = await client.get("/api/exports", headers=ADA)
            assert answer.headers["ratelimit"] == f'"reads";r={left};t=30'
            assert answer.headers["ratelimit-policy"] == '"reads";q=2;w=60'
        refused = await client.get("/api/uploads", headers=ADA)
        assert assert_problem(refused, 429)["code"] == "rate_limited"
        assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("30", '"reads";r=0;t=30')
        assert (await client.get("/api/uploads", headers=BOB)).status_code == 200
        await send_webhooks(app)
        for path in ("/healthz", "/readyz", "/openapi.json"):
            answer = await client.get(path)
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        clock.passed_seconds = 30
        assert (await client.get("/api/uploads", headers=ADA)).status_code == 200


async def send_webhooks(app: AppHarness) -> None:
    """Use up what ada may send of webhooks, and of what she may write."""
    for path, status in (
        ("/api/webhooks/none/test", 404),
        ("/api/webhooks/none/recover", 429),
        ("/api/exports/none/retry", 404),
        ("/api/exports/acknowledge", 200),
        ("/api/stream-tickets", 201),
        ("/api/stream-tickets", 429),
    ):
        assert (await app.client.post(path, headers=ADA)).status_code == status, path


async def test_streams_are_never_limited(users_settings: Settings) -> None:
    settings = users_settings.model_copy(update={"rate_limit_reads": 1})
    async with open_app(settings, FakeRunner()) as app:
        job = await app.submit_export(user="ada", headers=ADA)
        path = f"/api/exports/{job['job_id']}/events"
        await app.client.delete(f"/api/exports/{job['job_id']}", headers=ADA)
        for _ in range(3):
            answer = await app.client.get(path, headers=ADA)
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        timelines = [
            await app.client.get(path, headers=ADA | {"accept": "application/json"}) for _ in range(2)
        ]
        assert [timeline.status_code for timeline in timelines] == [200, 429]


async def test_one_local_user_has_no_limit(settings: Settings) -> None:
    async with open_app(settings.model_copy(update={"rate_limit_reads": 1}), FakeRunner()) as app:
        for _ in range(2):
            answer = await app.client.get("/api/exports")
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
