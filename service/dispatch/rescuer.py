"""Rescue attempts whose runs are silent, overdue or gone, and those that were never confirmed to have started.

Each step is: lease in a transaction, ask the runner outside of it, record in another. If this process dies in between,
the lease expires and another replica rescues the job.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gpu.errors import OUT_OF_TIME
from infra.database.base import Database
from infra.storage import StorageError
from service.clock import Clock
from service.dispatch.attempt_failures import AttemptEnder, AttemptFailure, interruption
from service.dispatch.observation import JobObserver, Limits
from service.dispatch.runners import Failed, Finished, Runner, Running, Unknown
from service.dispatch.time_limits import TimeLimits
from service.ingest.changes import change_from_result
from service.ingest.finalizer import Finalizer
from service.jobs import finalize_leases, leases
from service.jobs.leases import WatchedJob
from service.jobs.models import Job, Status
from service.jobs.retry_rule import Charge
from service.metrics.traffic import RunnerMetrics

logger = logging.getLogger("framehook.attempts")

PROBES_AT_ONCE = 16
JOBS_PER_ROUND = 100

_OVERDUE = {
    Status.PROCESSING: AttemptFailure(OUT_OF_TIME.code, OUT_OF_TIME.message, retryable=False),
    Status.PENDING: AttemptFailure(
        "never_started",
        "The export was not started in time, because the service is busy. Retry it later.",
        retryable=False,
    ),
}
_STUCK = AttemptFailure("run_stalled", "The run made no progress any more.", retryable=True)


class Rescuer:
    """Find stuck attempts and decide what becomes of them; safe to run on every replica."""

    def __init__(
        self,
        database: Database,
        runner: Runner,
        finalizer: Finalizer,
        ender: AttemptEnder,
        *,
        limits: Limits,
        clock: Clock,
        metrics: RunnerMetrics,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._runner = runner
        self._finalizer = finalizer
        self._ender = ender
        self._time_limits = TimeLimits(
            database, ender, max_round_seconds=limits.max_round_seconds, clock=clock
        )
        self._limits = limits
        self._clock = clock
        self._observer = JobObserver(limits, clock.monotonic)

    async def run(self) -> None:
        """Rescue stuck attempts every few seconds, until cancelled."""
        while True:
            await self.rescue_once()
            await asyncio.sleep(self._limits.rescue_interval_seconds)

    async def rescue_once(self) -> None:
        """Do one round."""
        await self._time_limits.enforce()
        now = self._clock.wall()
        async with self._database.reading() as session:
            held = await leases.list_watched(session)
        late = self._observer.find_late(held)
        self._metrics.show_stuck(late.signs)
        async with self._database.transaction() as session:
            await leases.end_long_pauses(session, now=now)
            lapsed = await leases.list_unchanged(session, late.lapsed[:JOBS_PER_ROUND])
            overdue = await leases.list_unchanged(session, late.overdue[:JOBS_PER_ROUND])
            stuck = await leases.list_unchanged(session, self._select_own(late.stuck)[:JOBS_PER_ROUND])
            silent = await leases.lease_silent(
                session,
                late.silent[:JOBS_PER_ROUND],
                lease_seconds=self._limits.silence_seconds / 2,
                now=now,
            )
        for job in lapsed:
            message = "The run could not be confirmed to have started."
            await self._ender.fail(job, interruption(message, only_if_unstarted=True))
        await self._probe_all(stuck, self._end_stuck)
        await self._probe_all(overdue, self._end_overdue)
        await self._probe_all(silent, self._probe_run)

    def _select_own(self, jobs: Sequence[WatchedJob]) -> list[WatchedJob]:
        """Return the jobs whose runs end with this process: only it can end a run that no longer listens."""
        own = self._runner.instance
        return [job for job in jobs if own and job.call_id is not None and job.call_id.startswith(own)]

    async def restart_orphaned(self) -> None:
        """Requeue, when the service starts, the jobs that an earlier process of it was running.

        Calls that outlive the service go on; of those only what was about to be started is started again.
        """
        async with self._database.transaction() as session:
            await finalize_leases.release_all(session)
        async with self._database.reading() as session:
            orphaned = await leases.list_orphaned(
                session, self._runner.name, of_this_instance=self._runner.instance
            )
        for job in orphaned:
            await self._ender.fail(job, interruption("The service was restarted."))

    async def check_ended(self, call_ids: list[str]) -> None:
        """Probe the runs of calls that the runner saw end, instead of waiting until they are silent."""
        if not call_ids:
            return
        async with self._database.reading() as session:
            unfinished = await leases.find_by_call(session, call_ids)
        await self._probe_all(unfinished, self._probe_run)

    async def _probe_all(self, jobs: Sequence[Job], probe: Callable[[Job], Awaitable[None]]) -> None:
        async def probe_in_turn(job: Job) -> None:
            async with slots:
                await probe(job)

        slots = asyncio.Semaphore(PROBES_AT_ONCE)
        async with asyncio.TaskGroup() as probing:
            for job in jobs:
                probing.create_task(probe_in_turn(job))

    async def _probe_run(self, job: Job) -> None:
        if job.call_id is None:  # the service died before it could store which call to probe
            await self._ender.fail(job, interruption("The run stopped reporting."))
            return
        status = await self._runner.probe(job.call_id)
        match status:
            case Running() | Unknown():
                return
            case Finished():
                await self._finalize(job, status)
            case Failed(code, message, transient, interrupted):
                charge = Charge.INTERRUPTION if interrupted else Charge.FAILURE
                await self._ender.fail(job, AttemptFailure(code, message, transient, charge))

    async def _end_stuck(self, job: Job) -> None:
        """Fail the attempt if its run is still there; the result of one that has ended may be about to be taken."""
        if job.call_id is not None and isinstance(await self._runner.probe(job.call_id), Running):
            await self._ender.fail(job, _STUCK)

    async def _end_overdue(self, job: Job) -> None:
        """Take the result of an overdue run that ended without being able to report it, or fail the job."""
        status = Unknown() if job.call_id is None else await self._runner.probe(job.call_id)
        if isinstance(status, Finished):
            await self._finalize(job, status)
            return
        await self._ender.fail(job, _OVERDUE[job.status])

    async def _finalize(self, job: Job, finished: Finished) -> None:
        change = change_from_result(job, finished.ending, finished.gpu_seconds, now=self._clock.wall())
        try:
            await self._finalizer.apply(change)
        except StorageError as error:  # a later round probes the run again
            logger.warning("an output can't be published now: %s", error.code, extra=job.log_fields)
