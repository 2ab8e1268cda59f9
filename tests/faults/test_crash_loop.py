"""A service that is killed while it delivers webhooks; `make kills` kills it 200 times on each database."""

import os
import random

import pytest

from tests.faults.crash_loop import open_crash_loop
from tests.faults.crash_plan import Plan


@pytest.mark.parametrize(("database", "replicas"), [("sqlite", 1), ("postgresql", 2)])
async def test_no_kill_loses_a_delivery_or_leaves_a_wrong_log(
    database: str, replicas: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nkills on {database}: FAULT_SEED={seed}")
    plan = Plan(kills=8, deliveries=100, seed=seed, replicas=replicas, timeout_seconds=1.0)
    async with open_crash_loop(plan, postgresql=database == "postgresql", log=print) as crash_loop:
        assert await crash_loop.run() == [], crash_loop.logs()
    assert crash_loop.counts["attempts interrupted"] > 0
    assert crash_loop.counts["arrived more than once"] > 0
