"""A service that is killed while days pass; `make kills ARGS="--days 3 --kills 1000"` kills it a thousand times."""

import os
import random
from dataclasses import replace

import pytest

from service.webhooks.retry_policy import SCHEDULE_SECONDS
from tests.faults.checkers.delivery_checks import LoggedAttempt, OutboxRow
from tests.faults.crash_loop import open_crash_loop
from tests.faults.crash_plan import Plan
from tests.faults.days.day_loop import DayLoop
from tests.faults.days.outages import DAY_SECONDS, Outages
from tests.faults.days.policy_checks import (
    EndpointState,
    find_early_retries,
    find_wrong_disabling,
    is_given_up_by_rule,
)

ROW = OutboxRow("msg-1", "ep_1", "job-1", 3, "export.failed", "{}", "failed", 1, 2, False, 0.0)
FAILURE = LoggedAttempt("msg-1", 1, 0.1, 500, "status", at=100.0)
ENDPOINT = EndpointState("ep_1", created_at=0.0)


async def test_no_kill_in_days_of_outages_loses_a_delivery(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nkills over days: FAULT_SEED={seed}")
    plan = Plan(kills=4, deliveries=30, seed=seed, timeout_seconds=1.0, endpoints=5, days=3)
    async with open_crash_loop(plan, postgresql=False, log=print, loop_type=DayLoop) as day_loop:
        assert await day_loop.run() == [], day_loop.logs()
    assert day_loop.counts["simulated hours"] >= 72
    assert day_loop.counts["most failures of a delivery"] > 0


def test_a_delivery_may_be_given_up_only_after_all_attempts_or_with_its_endpoint() -> None:
    assert not is_given_up_by_rule(ROW, ENDPOINT)
    assert is_given_up_by_rule(ROW, replace(ENDPOINT, disabled_reason="gone"))
    assert is_given_up_by_rule(replace(ROW, tries=len(SCHEDULE_SECONDS) + 1), ENDPOINT)
    assert not is_given_up_by_rule(replace(ROW, state="pending"), replace(ENDPOINT, disabled_reason="gone"))


@pytest.mark.parametrize(("after", "early"), [(1.0, 1), (10.0, 0)])
def test_a_retry_may_not_begin_before_the_schedule_allows_it(after: float, early: int) -> None:
    retry = replace(FAILURE, attempt=2, at=FAILURE.at + after)
    assert len([*find_early_retries([ROW], {"msg-1": [FAILURE, retry]})]) == early
    interrupted = replace(FAILURE, seconds=None, status=None, error_code="interrupted")
    assert [*find_early_retries([ROW], {"msg-1": [interrupted, retry]})] == []


def test_an_endpoint_may_be_disabled_only_for_a_410_or_five_days_of_failures() -> None:
    gone = replace(FAILURE, status=410)
    by_410 = replace(ENDPOINT, disabled_reason="gone", disabled_at=200.0)
    for_failures = replace(ENDPOINT, disabled_reason="failing", disabled_at=5 * DAY_SECONDS)
    success = replace(FAILURE, status=204, at=DAY_SECONDS)
    for endpoint, attempts, wrong in (
        (ENDPOINT, [FAILURE], 0),
        (by_410, [gone], 0),
        (ENDPOINT, [gone], 1),
        (by_410, [FAILURE], 1),
        (for_failures, [FAILURE], 0),
        (for_failures, [success], 1),
    ):
        assert len([*find_wrong_disabling(endpoint, attempts)]) == wrong


def test_a_receiver_that_is_gone_stays_so() -> None:
    outages = Outages([(10.0, 20.0)], gone_at=30.0)
    statuses = [outages.respond(now, random.Random(1)).status for now in (5.0, 25.0, 30.0, 40.0)]  # noqa: S311
    assert statuses == [204, 204, 410, 410]
    assert outages.respond(15.0, random.Random(1)).status != 204  # noqa: S311
