"""Decide what follows an attempt that ended without a report: another attempt, or the end of the job."""

import random
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.clock import Clock
from service.fanout.changes import JobChanges
from service.jobs import transitions
from service.jobs.models import Job
from service.jobs.retry_rule import MAX_INTERRUPTIONS, Charge, requeue_message, retry_at

PROMPT_INTERRUPTIONS = 10
"""How often an export starts again without delay after the service ended while it ran.

After that the export may be the cause: it waits longer each time, so that other exports can finish.
"""


@dataclass(frozen=True)
class AttemptFailure:
    """Why an attempt ended, and how it is counted; `only_if_unstarted` ignores it once a run has reported."""

    code: str
    message: str
    retryable: bool
    charge: Charge = Charge.FAILURE
    only_if_unstarted: bool = False


def interruption(message: str, *, only_if_unstarted: bool = False) -> AttemptFailure:
    """Return the failure of an attempt that ended because the service did."""
    return AttemptFailure("run_lost", message, True, Charge.INTERRUPTION, only_if_unstarted)


class AttemptEnder:
    """Ends attempts for the dispatcher and the rescuer; safe to use on every replica."""

    def __init__(self, database: Database, changes: JobChanges, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock

    async def fail(self, job: Job, failure: AttemptFailure) -> None:
        """Requeue the job or fail it, and stop what is left of the attempt; no-op if it is over already."""
        jitter = random.random()  # noqa: S311 - not for a secret
        async with self._database.transaction() as session:
            updated = await end_attempt(session, job, failure, now=self._clock.wall(), jitter=jitter)
        if updated is not None:
            await self._changes.notify(updated, ended_attempt=job)

    async def expire(self, job: Job, code: str, message: str, *, only_if_pending: bool) -> None:
        """Fail a job whose time is over, and stop its run; no-op if it has ended or its output is being published."""
        async with self._database.transaction() as session:
            ended = await transitions.expire(
                session, job, code, message, only_if_pending=only_if_pending, now=self._clock.wall()
            )
        if ended is not None:
            await self._changes.notify(ended, ended_attempt=job)


async def end_attempt(
    session: AsyncSession, job: Job, failure: AttemptFailure, *, now: float, jitter: float
) -> Job | None:
    """Requeue the job if the failure is retryable and another attempt is left, else fail it.

    Returns None if the attempt had already ended. `jitter` is from 0 to 1.
    """
    unstarted = failure.only_if_unstarted
    if failure.retryable:
        requeued = await transitions.requeue(
            session,
            job,
            requeue_message(failure.message),
            reason=failure.code,
            charge=failure.charge,
            not_before=_start_again_at(job, failure.charge, now, jitter),
            unstarted=unstarted,
            now=now,
        )
        if requeued is not None:
            return requeued
    code, message = _ending(failure)
    return await transitions.fail(session, job, code, message, unstarted=unstarted, now=now)


def _start_again_at(job: Job, charge: Charge, now: float, jitter: float) -> float:
    if charge is not Charge.INTERRUPTION:
        return retry_at(job.attempt, now, jitter)
    delayed = job.interruptions + 1 - PROMPT_INTERRUPTIONS
    return retry_at(delayed, now, jitter) if delayed > 0 else now


def _ending(failure: AttemptFailure) -> tuple[str, str]:
    if failure.charge is not Charge.INTERRUPTION:
        return failure.code, failure.message
    message = (
        f"The service stopped more than {MAX_INTERRUPTIONS} times while it ran this export, which may be the cause. "
        "Find out why it stopped, then retry the export."
    )
    return "interrupted_too_often", message
