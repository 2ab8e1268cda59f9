"""Start pending attempts on the runner as capacity becomes free.

Each start is: claim the job in a transaction, call the runner outside of it, record the call in another transaction. If
this process dies in between, the lease expires and the rescuer starts the next attempt.
"""

import asyncio
from contextlib import suppress

from pydantic import ValidationError

from gpu.export_types.registry import UnknownExportType
from infra.database.base import Database
from infra.storage import InvalidKey, StorageError
from service.clock import Clock
from service.costs.control import Budgets
from service.dispatch.attempt_failures import AttemptEnder, AttemptFailure
from service.dispatch.attempt_specs import SpecBuilder
from service.dispatch.budget_holds import BudgetHolds, find_spent_limit
from service.dispatch.observation import Limits
from service.dispatch.rescuer import Rescuer
from service.dispatch.run_control import RunControl
from service.dispatch.runners import Runner, RunnerReadiness, RunnerRefused
from service.fanout.changes import JobChanges
from service.jobs import leases, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import Charge

IDLE_SECONDS = 2.0

_CONFIG_UNUSABLE = AttemptFailure(
    "config_unusable",
    "This version of the service can't read the export's configuration. Create the export again.",
    retryable=False,
)


class Dispatcher:
    """Claim pending jobs and start their attempts; safe to run on every replica."""

    def __init__(
        self,
        database: Database,
        runner: Runner,
        readiness: RunnerReadiness,
        specs: SpecBuilder,
        control: RunControl,
        rescuer: Rescuer,
        ender: AttemptEnder,
        changes: JobChanges,
        budgets: Budgets,
        *,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._database = database
        self._runner = runner
        self._readiness = readiness
        self._specs = specs
        self._control = control
        self._rescuer = rescuer
        self._ender = ender
        self._changes = changes
        self._holds = BudgetHolds(database, budgets, changes, clock)
        self._limits = limits
        self._clock = clock
        self._starting: dict[asyncio.Task[None], Job] = {}
        self._interrupted: list[Job] = []  # whose start was cancelled: perhaps begun, and not recorded

    def wake(self) -> None:
        """Look for pending jobs now."""
        self._runner.freed.set()

    async def run(self) -> None:
        """Start pending jobs as capacity becomes free, until cancelled; a slow start does not delay others."""
        await self._requeue_interrupted()
        await self._holds.release()
        async with asyncio.TaskGroup() as starts:
            while True:
                self._runner.freed.clear()
                await self._rescuer.check_ended(self._runner.drain_ended())
                for job in await self._claim():
                    start = starts.create_task(self._start(job))
                    self._starting[start] = job
                    start.add_done_callback(self._on_start_done)
                # Not `wait_for`: before Python 3.12 it drops a cancellation that comes together with what it waits for.
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._runner.freed.wait()

    async def release_local_runs(self) -> None:
        """Stop local runs before a shutdown and requeue their jobs, without counting an attempt."""
        if not self._runner.instance:
            return
        await self._requeue_interrupted()
        async with self._database.reading() as session:
            local_jobs = await leases.list_local_runs(session, self._runner.instance)
        for job in local_jobs:
            await self._requeue(job, only_if_unstarted=False)
            await self._control.stop_attempt(job)

    async def _requeue_interrupted(self) -> None:
        """Requeue jobs whose start was interrupted by a shutdown or a crash of this loop; counts no attempt."""
        while self._interrupted:
            job = self._interrupted.pop()
            # Where calls outlive the service, one that has reported goes on, and others are answered 410.
            if self._runner.instance:
                await self._control.cancel_call(job, self._runner.call_id_for(job.job_id, job.attempt))
            await self._requeue(job, only_if_unstarted=not self._runner.instance)

    async def _requeue(self, job: Job, *, only_if_unstarted: bool) -> None:
        async with self._database.transaction() as session:
            requeued = await transitions.requeue(
                session,
                job,
                "Waiting for the service to start again",
                reason="service_stopped",
                charge=Charge.NOTHING,
                unstarted=only_if_unstarted,
                not_before=0,
                now=self._clock.wall(),
            )
        if requeued is not None:
            self._changes.publish(requeued)

    async def _claim(self) -> list[Job]:
        if not await self._holds.enforce():
            self.wake()
            return []
        if self._readiness.outage is not None:
            return []
        capacity = self._runner.capacity()
        free = capacity - len(self._starting)
        if free < max(
            1, capacity // 2
        ):  # finding the user whose turn it is pays off for several jobs together
            return []
        async with self._database.transaction() as session:
            return await leases.claim(
                session,
                slots=free,
                per_user=self._limits.per_user,
                priority_seconds=self._limits.priority_seconds,
                lease_seconds=self._limits.lease_seconds,
                usd_per_second=self._holds.usd_per_second,
                now=self._clock.wall(),
            )

    async def _start(self, job: Job) -> None:
        if (spent := find_spent_limit(job)) is not None:
            await self._ender.fail(job, spent)
            return
        try:
            call_id = await self._runner.spawn(await self._specs.build(job))
        except (ValidationError, InvalidKey):  # written by another version, or a link that was made since
            await self._ender.fail(job, _CONFIG_UNUSABLE)
            return
        except UnknownExportType:
            message = (
                f"The service has no export type {job.type!r} any more; install its package, then retry."
            )
            failure = AttemptFailure("unknown_export_type", message, retryable=False)
            await self._ender.fail(job, failure)
            return
        except (StorageError, RunnerRefused) as error:
            if isinstance(error, RunnerRefused):
                self._readiness.report_refusal(error)
            await self._ender.fail(job, _start_failure(error))
            return
        async with self._database.transaction() as session:
            started = await leases.record_spawn(session, job, call_id, now=self._clock.wall())
        if started is None:  # cancelled between the claim and here
            await self._control.cancel_call(job, call_id)
        else:
            self._changes.publish(started)

    def _on_start_done(self, start: asyncio.Task[None]) -> None:
        job = self._starting.pop(start)
        if start.cancelled():
            self._interrupted.append(job)
        self.wake()


def _start_failure(error: StorageError | RunnerRefused) -> AttemptFailure:
    """Return the failure of an attempt that the runner refused, or whose storage is unavailable.

    A call that was refused may run nevertheless, and may have reported: then it goes on.
    """
    if isinstance(error, StorageError):
        message = "The storage is unavailable."
        return AttemptFailure(error.code, message, True, Charge.NOTHING, only_if_unstarted=True)
    charge = Charge.FAILURE if error.counted else Charge.NOTHING
    return AttemptFailure(error.code, error.message, error.transient, charge, only_if_unstarted=True)
