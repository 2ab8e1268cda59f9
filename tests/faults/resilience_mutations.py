"""More bugs to plant: what readers who leave, clocks that are set and deaths of the service would bring out."""

import time
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from service.dispatch import rescuer
from service.dispatch.attempt_failures import AttemptFailure, interruption
from service.dispatch.observation import JobObserver, Stopwatch
from service.fanout.initial_states import InitialStates, InitialStatesReader
from service.jobs.leases import WatchedJob
from service.jobs.transition_sql import Charge
from service.webhooks.clock_steps import ClockCheck
from tests.faults.schedule import Act, Step

_HOURS = 3_600.0
_JOBS = tuple(Step(0.0, Act.SUBMIT, index, word="long") for index in range(4))
PROVOKING = {
    "lose-connections-of-streams": (*_JOBS, *(Step(0.5 * number, Act.LEAVE) for number in range(6))),
    "measure-by-wall-clock": (
        *_JOBS,
        *(Step(0.5 + number / 2, Act.CLOCK, seconds=3 * _HOURS) for number in range(4)),
    ),
    "charge-deaths-of-service": (*_JOBS, Step(0.5, Act.DEATHS)),
    "keep-leases-of-the-dead": (*_JOBS, *(Step(0.0, Act.KILL_FINALIZING, index) for index in range(3))),
    "wait-for-that-day": (
        *_JOBS,
        Step(0.0, Act.CLOCK, seconds=3 * _HOURS),
        Step(3.0, Act.CLOCK, seconds=-3 * _HOURS),
    ),
}
"""The steps of a schedule that brings a bug out."""


def lose_connections_of_streams() -> None:
    """A reader who opens a stream takes a connection to the database along."""
    read = InitialStatesReader.read
    kept: list[object] = []

    async def read_and_keep(
        initial_states: InitialStatesReader, user_id: str, since: float | None
    ) -> InitialStates:
        reading = initial_states._database.reading()
        await (await reading.__aenter__()).execute(text("SELECT 1"))
        kept.append(reading)
        return await read(initial_states, user_id, since)

    _put(InitialStatesReader, "read", read_and_keep)


def measure_by_wall_clock() -> None:
    """What ends an attempt is measured by a clock that may be set."""

    def begin_round(stopwatch: Any) -> None:
        now = time.time()
        stopwatch._elapsed += now - vars(stopwatch).setdefault("wall", now)
        stopwatch.wall = now

    _put(Stopwatch, "begin_round", begin_round)


def charge_deaths_of_service() -> None:
    """An export under which the service dies has failed once more."""

    def failure(message: str, **options: Any) -> AttemptFailure:
        return replace(interruption(message, **options), charge=Charge.FAILURE)

    _put(rescuer, "interruption", failure)


def keep_leases_of_the_dead() -> None:
    """Nobody goes on with an output that a replica was publishing when it died."""
    is_free = JobObserver._is_free

    def is_free_now(observation: JobObserver, job: WatchedJob) -> bool:
        return job.finalizer is None and is_free(observation, job)

    _put(JobObserver, "_is_free", is_free_now)


def wait_for_that_day() -> None:
    """A webhook that was scheduled while the clock was ahead waits until it shows that time again."""
    _put(ClockCheck, "is_due", lambda *_: False)


MORE_BUGS = (
    lose_connections_of_streams,
    measure_by_wall_clock,
    charge_deaths_of_service,
    keep_leases_of_the_dead,
    wait_for_that_day,
)


def _put(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)
