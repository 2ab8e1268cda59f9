"""A few fault schedules against each database, and proof that the suite catches mutations.

`make faults` runs hundreds; `make faults ARGS="--seed N --only M --database …"` repeats one of them.
"""

import os
import random
import subprocess
import sys

import pytest

from tests.faults.checkers.callback_checker import ReportedStep, is_recorded, is_superseded
from tests.faults.checkers.delivery_checks import TimelineRow
from tests.faults.checkers.invariants import check_timeline
from tests.faults.cluster.proxy import NetworkFaults
from tests.faults.sample_rows import build_row
from tests.faults.schedule import Action, ClusterFeatures, Schedule, Step, generate
from tests.faults.suite import FaultSuite, Plan
from tests.faults.workload.webhook_receiver import ReceiverBehavior

DATABASES = ("sqlite", "postgresql")
FIXED_SEED = 4
HOUR = 3_600.0
HARMLESS = Schedule(
    "harmless",
    (
        *(Step(0.0, Action.SUBMIT, index, clip="long") for index in range(3)),
        *(Step(0.4 * number, Action.LEAVE, number) for number in range(4)),
        Step(0.8, Action.CLOCK, seconds=3 * HOUR),
        Step(1.0, Action.DEATHS),
        Step(2.4, Action.CLOCK, seconds=-5 * HOUR),
    ),
    NetworkFaults(),
    3,
    ReceiverBehavior(),
)
"""Readers who leave, a clock that is set forward and back, and ten deaths of the service: no export ends by that."""
KILLED_FINALIZING = Schedule(
    "killed-finalizing",
    (
        *(Step(0.0, Action.SUBMIT, index, clip="short") for index in range(3)),
        *(Step(0.0, Action.KILL_FINALIZING, index, seconds=0.5) for index in range(2)),
    ),
    NetworkFaults(),
    3,
    ReceiverBehavior(),
)
"""Every replica dies while an output is published: another one, or the next life of it, goes on with that."""
REMOVALS = Schedule(
    "removals",
    (
        Step(0.0, Action.SUBMIT, 0, clip="short", days=1),
        Step(0.0, Action.SUBMIT, 1, clip="long", limit_usd=0.1),
        Step(0.0, Action.BATCH, 2, clip="short,long,broken"),
        Step(1.5, Action.PURGE, 3),
        Step(1.6, Action.KILL, 0, seconds=0.2),
        Step(2.5, Action.RETRY, 4),
        Step(3.0, Action.CANCEL_ALL),
    ),
    NetworkFaults(),
    5,
    ReceiverBehavior(),
    nights=1,
)
"""An export expires, one reaches what it may cost, a batch loses one to a purge while the service dies."""


@pytest.mark.parametrize("database", DATABASES)
async def test_no_fault_breaks_what_was_promised(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nfaults on {database}: FAULT_SEED={seed}")
    log: list[str] = []
    fixed = FaultSuite(database, FIXED_SEED, log.append, replicas=2, lanes=3)
    plans: list[Plan] = [REMOVALS, HARMLESS, KILLED_FINALIZING, (FIXED_SEED, 0), (seed, 0)]
    assert await fixed.run(plans) == [], log
    assert fixed.counts["schedules"] == 5
    assert fixed.counts["deaths of the service"] >= 10
    assert fixed.counts["erased exports"] >= 1
    assert fixed.counts["days passed"] >= 1


@pytest.mark.parametrize(
    ("database", "mutation"),
    [("sqlite", "acknowledge-before-commit"), ("sqlite", "publish-before-commit")],
)
async def test_a_mutation_is_caught(database: str, mutation: str) -> None:
    log: list[str] = []
    assert await FaultSuite(database, FIXED_SEED, log.append).run_mutation(mutation, tries=2), log


def test_every_mutation_finds_the_place_that_it_changes() -> None:
    # In a process of its own, because mutations stay.
    code = "from tests.faults.mutations import MUTATIONS; [apply() for apply in MUTATIONS.values()]"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_a_seed_gives_the_same_schedule_again() -> None:
    features = ClusterFeatures(replicas=3, postgresql=True, disk=True)
    assert generate(7, 3, features) == generate(7, 3, features)
    assert generate(7, 3, features) != generate(7, 4, features)


@pytest.mark.parametrize(
    ("report", "recorded", "superseded"),
    [
        pytest.param(ReportedStep("job", 2, "0b", 5, False), True, False, id="the step that the row holds"),
        pytest.param(ReportedStep("job", 2, "0b", 4, False), True, False, id="a step before it"),
        pytest.param(ReportedStep("job", 2, "0b", 6, False), False, False, id="a step that is lost"),
        pytest.param(ReportedStep("job", 2, "0c", 1, False), False, False, id="a later run that is lost"),
        pytest.param(ReportedStep("job", 2, "0a", 9, False), True, True, id="an earlier run"),
        pytest.param(ReportedStep("job", 1, "0c", 9, True), True, True, id="the end of an earlier attempt"),
        pytest.param(ReportedStep("job", 2, "0b", 5, True), False, False, id="an end that is lost"),
    ],
)
def test_an_answer_is_held_against_the_row(report: ReportedStep, recorded: bool, superseded: bool) -> None:
    assert (is_recorded(report, build_row()), is_superseded(report, build_row())) == (recorded, superseded)


def test_a_last_step_may_be_told_again_unless_it_was_cancelled() -> None:
    report = ReportedStep("job", 2, "0b", 5, True)
    assert not is_superseded(report, build_row(status="complete"))
    assert is_superseded(report, build_row(status="cancelled"))
    assert is_superseded(ReportedStep("job", 2, "0b", 4, True), build_row(status="complete"))


@pytest.mark.parametrize(
    ("timeline", "retries", "wrong"),
    [
        pytest.param([(1, 1, "pending", 0), (9, 2, "complete", 100)], 0, 0, id="one end"),
        pytest.param([(1, 1, "error", 5), (2, 2, "pending", 0), (9, 2, "complete", 100)], 1, 0, id="retried"),
        pytest.param([(1, 1, "error", 5), (9, 2, "complete", 100)], 0, 1, id="two ends without a retry"),
        pytest.param([(1, 2, "error", 5), (9, 2, "complete", 100)], 1, 2, id="two ends of an attempt"),
        pytest.param([(1, 2, "processing", 5), (9, 1, "complete", 100)], 0, 1, id="an attempt comes back"),
        pytest.param([(1, 2, "processing", 50), (9, 2, "complete", 10)], 0, 1, id="progress falls"),
    ],
)
def test_a_timeline_tells_of_one_end(
    timeline: list[tuple[int, int, str, float]], retries: int, wrong: int
) -> None:
    mistakes = check_timeline(
        build_row(status="complete"),
        [TimelineRow(*row_[:3], "processing", row_[3]) for row_ in timeline],
        retries,
    )
    assert len(mistakes) == wrong, mistakes
