"""Mutations that leaving readers, clock steps and deaths of the service reveal."""

import time
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from service.clock import ClockCheck
from service.dispatch import rescuer
from service.dispatch.attempt_failures import AttemptFailure, interruption
from service.dispatch.observation import JobObserver, Stopwatch
from service.fanout.initial_states import InitialStates, InitialStatesReader
from service.jobs.leases import WatchedJob
from service.jobs.retry_rule import Charge
from tests.faults.schedule import Action, Step

_HOURS = 3_600.0
_JOBS = tuple(Step(0.0, Action.SUBMIT, index, clip="long") for index in range(4))
PROVOKING_STEPS = {
    "lose-connections-of-streams": (*_JOBS, *(Step(0.5 * number, Action.LEAVE) for number in range(6))),
    "measure-by-wall-clock": (
        *_JOBS,
        *(Step(0.5 + number / 2, Action.CLOCK, seconds=3 * _HOURS) for number in range(4)),
    ),
    "charge-deaths-of-service": (*_JOBS, Step(0.5, Action.DEATHS)),
    "keep-leases-of-the-dead": (*_JOBS, *(Step(0.0, Action.KILL_FINALIZING, index) for index in range(3))),
    "wait-for-that-day": (
        *_JOBS,
        Step(0.0, Action.CLOCK, seconds=3 * _HOURS),
        Step(3.0, Action.CLOCK, seconds=-3 * _HOURS),
    ),
}
"""The steps of a schedule that reveals a mutation."""


def lose_connections_of_streams() -> None:
    """Lose a database connection for each stream that is opened."""
    read = InitialStatesReader.read
    leaked: list[object] = []

    async def read_and_keep(initial_states: InitialStatesReader, *args: Any) -> InitialStates:
        reading = initial_states._database.reading()
        await (await reading.__aenter__()).execute(text("SELECT 1"))
        leaked.append(reading)
        return await read(initial_states, *args)

    _replace(InitialStatesReader, "read", read_and_keep)


def measure_by_wall_clock() -> None:
    """Measure what ends an attempt by a clock that may be set."""

    def begin_round(stopwatch: Any) -> None:
        now = time.time()
        stopwatch._elapsed += now - vars(stopwatch).setdefault("wall", now)
        stopwatch.wall = now

    _replace(Stopwatch, "begin_round", begin_round)


def charge_deaths_of_service() -> None:
    """Count a death of the service as a failure of its exports."""

    def failure(message: str, **options: Any) -> AttemptFailure:
        return replace(interruption(message, **options), charge=Charge.FAILURE)

    _replace(rescuer, "interruption", failure)


def keep_leases_of_the_dead() -> None:
    """Never take over an output that a replica was publishing when it died."""
    is_free = JobObserver._is_free

    def is_free_now(observation: JobObserver, job: WatchedJob) -> bool:
        return job.finalizer is None and is_free(observation, job)

    _replace(JobObserver, "_is_free", is_free_now)


def wait_for_that_day() -> None:
    """Keep a webhook waiting that was scheduled while the clock was ahead."""
    _replace(ClockCheck, "is_due", lambda *_: False)


RESILIENCE_MUTATIONS = (
    lose_connections_of_streams,
    measure_by_wall_clock,
    charge_deaths_of_service,
    keep_leases_of_the_dead,
    wait_for_that_day,
)


def _replace(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)
