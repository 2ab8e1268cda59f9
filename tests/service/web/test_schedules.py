"""Generated schedules: a page sees what the service stored, in spite of faults of tabs, network, tokens and service."""

import json
import os

import pytest

from service.settings import Settings
from tests.service.web.client_mutations import MUTATIONS, mutate
from tests.service.web.simulation_process import CLIENT, run_schedules

SEED = int(os.environ.get("SCHEDULE_SEED", "1"))
COUNT = int(os.environ.get("SCHEDULES", "200"))


async def test_the_history_of_a_client_is_that_of_the_service(users_settings: Settings) -> None:
    report = await run_schedules(users_settings, seed=SEED, count=COUNT)
    failures = report.pop("failures")
    print(report)
    assert not failures, "\n".join(
        f"SCHEDULE_SEED={failure['seed']} SCHEDULES=1: {json.dumps(failure, indent=1)}"
        for failure in failures
    )
    assert report["schedules"] == COUNT


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_bug_that_schedules_must_find_fits_the_client(name: str) -> None:
    assert mutate(CLIENT.read_text("utf-8"), name)
