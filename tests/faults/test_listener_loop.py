"""Listeners that break with their service; `make kills ARGS=--listeners` breaks them 200 times on each database."""

import os
import random

import pytest

from tests.faults.checkers.delivery_checks import LoggedAttempt, find_lost_successes, find_needless_attempts
from tests.faults.crash_loop import open_crash_loop
from tests.faults.crash_plan import Plan
from tests.faults.listener_loop import Fault, ListenerLoop


async def test_no_fault_of_a_listener_loses_an_event_or_repeats_one_without_need(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nlisteners: FAULT_SEED={seed}")
    plan = Plan(kills=len(Fault), deliveries=18, seed=seed, timeout_seconds=1.0, endpoints=1)
    async with open_crash_loop(plan, postgresql=False, log=print, loop_type=ListenerLoop) as crash_loop:
        assert await crash_loop.run() == [], crash_loop.logs()
    assert [crash_loop.counts[fault] for fault in Fault] == [1] * len(Fault)
    assert crash_loop.counts["successes confirmed"] > 0


SUCCESS = LoggedAttempt("msg-1", 1, 0.1, 204, None, at=10.0)
AGAIN = LoggedAttempt("msg-1", 2, 0.1, 204, None, at=12.0)


def test_a_success_that_was_confirmed_has_to_be_in_the_log() -> None:
    confirmed = {("msg-1", 1): 11.0}
    failure = LoggedAttempt("msg-1", 1, 0.1, None, "timeout")
    assert [*find_lost_successes({"msg-1": [SUCCESS]}, confirmed)] == []
    for attempts in ({}, {"msg-1": [failure]}, {"msg-1": [AGAIN]}):
        assert len([*find_lost_successes(attempts, confirmed)]) == 1


@pytest.mark.parametrize(("known_at", "needless"), [(11.0, 1), (13.0, 0), (None, 0)])
def test_no_attempt_may_begin_after_a_success_is_known(known_at: float | None, needless: int) -> None:
    confirmed = {} if known_at is None else {("msg-1", 1): known_at}
    assert len([*find_needless_attempts({"msg-1": [SUCCESS, AGAIN]}, confirmed)]) == needless
