"""End exports that did not start, or did not finish, within the time that their clients allow.

The time is measured by the monotonic clock of this process from when it first sees the export, so a clock that is set
while the service runs ends no export. What was not there at the last look has waited since then at most. Only the first
look after a start goes by the wall clock, and so does the time that an export is scheduled for.
"""

import math

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.attempt_failures import AttemptEnder
from service.dispatch.observation import Stopwatch
from service.jobs import leases
from service.jobs.models import Job, Status


class TimeLimits:
    """Enforces `start_within_seconds` and `deadline_seconds`; safe to use on every replica."""

    def __init__(
        self, database: Database, ender: AttemptEnder, *, max_round_seconds: float, clock: Clock
    ) -> None:
        self._database = database
        self._ender = ender
        self._clock = clock
        self._stopwatch = Stopwatch(clock.monotonic, max_round_seconds=max_round_seconds)
        self._first_seen: dict[str, tuple[float, float]] = {}
        """By job: the start of its limits, and how long ago that was when it was first seen."""
        self._looked_at = -math.inf
        self._seconds_since_look = math.inf

    async def enforce(self) -> None:
        """End the exports whose time is over, and stop their runs."""
        now = self._clock.monotonic()
        async with self._database.reading() as session:
            limited = await leases.list_time_limited(session)
        self._looked_at, self._seconds_since_look = now, now - self._looked_at
        self._stopwatch.begin_round()
        self._forget_others({job.job_id for job in limited})
        for job in limited:
            seconds = self._measure(job)
            if job.finalizer is None:
                await self._check(job, seconds)

    async def _check(self, job: Job, seconds: float) -> None:
        deadline, start_within = job.deadline_seconds, job.start_within_seconds
        has_started = job.status is not Status.PENDING or job.first_started_at is not None
        if deadline is not None and seconds >= deadline:
            message = f"The export was not complete within its deadline of {deadline:g} s. Allow more time, then retry."
            await self._ender.expire(job, "deadline_exceeded", message, only_if_pending=False)
        elif start_within is not None and seconds >= start_within and not has_started:
            message = (
                f"The export did not start within {start_within:g} s: the service is busy. Retry it later."
            )
            await self._ender.expire(job, "not_started_in_time", message, only_if_pending=True)

    def _measure(self, job: Job) -> float:
        """Return for how many seconds the limits of the job have counted; negative before its scheduled time."""
        age = self._clock.wall() - job.limits_since
        if age < 0 and _is_scheduled(job):
            self._first_seen.pop(job.job_id, None)
            # Another state than the one it gets when its time has come, so the seconds then count from 0.
            self._stopwatch.seconds(job.job_id, "limits", None)
            return age
        since, seconds_before = self._first_seen.get(job.job_id, (None, 0.0))
        if since != job.limits_since:
            seconds_before = min(max(0.0, age), self._seconds_since_look)
            self._first_seen[job.job_id] = (job.limits_since, seconds_before)
        return seconds_before + self._stopwatch.seconds(job.job_id, "limits", job.limits_since)

    def _forget_others(self, job_ids: set[str]) -> None:
        self._stopwatch.keep_only(job_ids)
        self._first_seen = {job_id: seen for job_id, seen in self._first_seen.items() if job_id in job_ids}


def _is_scheduled(job: Job) -> bool:
    """Tell whether the limits count from the time that the export is scheduled for, and it has not been started."""
    return job.status is Status.PENDING and job.call_id is None and job.scheduled_at == job.limits_since
