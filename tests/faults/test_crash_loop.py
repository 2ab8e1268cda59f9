"""A service that is killed while it delivers webhooks; `make kills` kills it 200 times on each database."""

import os
import random

import pytest

from tests.faults.crash_loop import Plan, besieged


@pytest.mark.parametrize(("database", "replicas"), [("sqlite", 1), ("postgresql", 2)])
async def test_no_kill_loses_a_delivery_or_leaves_a_wrong_log(
    database: str, replicas: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nkills on {database}: FAULT_SEED={seed}")
    plan = Plan(kills=8, deliveries=100, seed=seed, replicas=replicas, timeout_seconds=1.0)
    async with besieged(plan, postgresql=database == "postgresql", say=print) as siege:
        assert await siege.run() == [], siege.logs()
    assert siege.counts["attempts interrupted"] > 0
    assert siege.counts["arrived more than once"] > 0
