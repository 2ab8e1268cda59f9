"""A few schedules of faults against each database, and what the suite is worth: it finds the bugs that are planted.

`make faults` plays hundreds; `make faults ARGS="--seed N --only M --database …"` plays one of them again.
"""

import os
import random
import subprocess
import sys

import pytest

from tests.faults.checkers.callback_checker import Told, kept, over
from tests.faults.checkers.database_reader import Row
from tests.faults.checkers.delivery_checks import Moment
from tests.faults.checkers.invariants import history
from tests.faults.cluster.proxy import Weather
from tests.faults.schedule import Act, Schedule, Step, Terrain, generate
from tests.faults.suite import Plan, Tour
from tests.faults.workload.webhook_receiver import Temper

DATABASES = ("sqlite", "postgresql")
FIXED_SEED = 4
HOUR = 3_600.0
HARMLESS = Schedule(
    "harmless",
    (
        *(Step(0.0, Act.SUBMIT, index, word="long") for index in range(3)),
        *(Step(0.4 * number, Act.LEAVE, number) for number in range(4)),
        Step(0.8, Act.CLOCK, seconds=3 * HOUR),
        Step(1.0, Act.DEATHS),
        Step(2.4, Act.CLOCK, seconds=-5 * HOUR),
    ),
    Weather(),
    3,
    Temper(),
)
"""Readers who leave, a clock that is set forward and back, and ten deaths of the service: no export ends by that."""
KILLED_FINALIZING = Schedule(
    "killed-finalizing",
    (
        *(Step(0.0, Act.SUBMIT, index, word="short") for index in range(3)),
        *(Step(0.0, Act.KILL_FINALIZING, index, seconds=0.5) for index in range(2)),
    ),
    Weather(),
    3,
    Temper(),
)
"""Every replica dies while an output is published: another one, or the next life of it, goes on with that."""


@pytest.mark.parametrize("database", DATABASES)
async def test_no_fault_breaks_what_was_promised(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nfaults on {database}: FAULT_SEED={seed}")
    said: list[str] = []
    fixed = Tour(database, FIXED_SEED, said.append, replicas=2, lanes=3)
    plans: list[Plan] = [HARMLESS, KILLED_FINALIZING, (FIXED_SEED, 0), (FIXED_SEED, 1), (seed, 0)]
    assert await fixed.play(plans) == [], said
    assert fixed.counts["schedules"] == 5
    assert fixed.counts["deaths of the service"] >= 10


@pytest.mark.parametrize(
    ("database", "bug"),
    [("sqlite", "acknowledge-before-commit"), ("sqlite", "publish-before-commit")],
)
async def test_a_planted_bug_is_caught(database: str, bug: str) -> None:
    said: list[str] = []
    assert await Tour(database, FIXED_SEED, said.append).with_bug(bug, tries=2), said


def test_every_bug_finds_the_place_to_be_planted_in() -> None:
    code = "from tests.faults.mutations import BUGS; [plant() for plant in BUGS.values()]"  # they stay, so not in here
    planting = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert planting.returncode == 0, planting.stderr


def test_a_seed_gives_the_same_schedule_again() -> None:
    terrain = Terrain(replicas=3, postgresql=True, disk=True)
    assert generate(7, 3, terrain) == generate(7, 3, terrain)
    assert generate(7, 3, terrain) != generate(7, 4, terrain)


def row(**changes: object) -> Row:
    usual: dict[str, object] = {
        "job_id": "job",
        "user_id": "ada",
        "status": "processing",
        "phase": "processing",
        "progress": 10.0,
        "attempt": 2,
        "run": "0b",
        "step": 5,
        "sequence": 9,
        "output_key": "out.mp4",
        "output_size": None,
        "output_checksum": None,
        "input_key": "clips/short.mp4",
        "error_code": None,
        "gpu_seconds": 0.0,
        "gpu_seconds_before": 0.0,
    }
    return Row(**{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "is_kept", "is_over"),
    [
        pytest.param(Told("job", 2, "0b", 5, False), True, False, id="the step that the row holds"),
        pytest.param(Told("job", 2, "0b", 4, False), True, False, id="a step before it"),
        pytest.param(Told("job", 2, "0b", 6, False), False, False, id="a step that is lost"),
        pytest.param(Told("job", 2, "0c", 1, False), False, False, id="a later run that is lost"),
        pytest.param(Told("job", 2, "0a", 9, False), True, True, id="an earlier run"),
        pytest.param(Told("job", 1, "0c", 9, True), True, True, id="the end of an earlier attempt"),
        pytest.param(Told("job", 2, "0b", 5, True), False, False, id="an end that is lost"),
    ],
)
def test_an_answer_is_held_against_the_row(told: Told, is_kept: bool, is_over: bool) -> None:
    assert (kept(told, row()), over(told, row())) == (is_kept, is_over)


def test_a_last_step_may_be_told_again_unless_it_was_cancelled() -> None:
    told = Told("job", 2, "0b", 5, True)
    assert not over(told, row(status="complete"))
    assert over(told, row(status="cancelled"))
    assert over(Told("job", 2, "0b", 4, True), row(status="complete"))


@pytest.mark.parametrize(
    ("moments", "retries", "wrong"),
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
    moments: list[tuple[int, int, str, float]], retries: int, wrong: int
) -> None:
    found = history(
        row(status="complete"), [Moment(*each[:3], "processing", each[3]) for each in moments], retries
    )
    assert len(found) == wrong, found
