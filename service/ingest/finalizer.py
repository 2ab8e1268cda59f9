"""Apply what a run reports; verify and publish its output before the row says `complete`."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from msgspec.structs import replace

from callbacks.envelope import EventType, Failure, Output
from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from infra.storage import PathConflict, Storage, StorageError
from service.fanout.changes import JobChanges
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Outcome, Refusal, with_lost_output
from service.ingest.lease_renewal import FinalizationTooLong, FinalizeLease, LeaseLost, LeaseRenewal
from service.ingest.output_check import SourceProber, check_output
from service.ingest.output_format import output_format
from service.ingest.output_limits import max_output_bytes
from service.jobs import finalize_leases
from service.jobs.models import Job

logger = logging.getLogger("framehook.outcomes")

Trace = Callable[[str, Job], AbstractContextManager[object]]

MISSING = Failure(
    code="output_missing", message="The exported file is missing in storage or incomplete.", transient=True
)
TOO_LARGE = Failure(
    code="output_too_large",
    message="The export is larger than allowed. Choose a lower quality, a smaller picture or a shorter part.",
)
TOO_LONG = Failure(
    code="finalize_timeout",
    message="Checking and storing the exported file took too long.",
    transient=True,
)
OBSTRUCTED = Failure(
    code="output_key_obstructed",
    message="The output key conflicts with an existing file or folder. Choose another output key.",
)


def attempt_output_key(job: Job) -> str:
    """Return the key to which the job's current attempt writes its output; clients can't name it."""
    return f"{attempt_folder(job.job_id, job.attempt)}/output{output_format(job.type).suffix}"


def attempt_folder(job_id: str, attempt: int) -> str:
    """Return the folder of all objects that an attempt stores."""
    return f".attempts/{job_id}-{attempt}"


async def delete_attempt_files(storage: Storage, job: Job) -> None:
    """Delete the objects of an attempt; what fails is left to the bucket's lifecycle rules."""
    try:
        await storage.delete_folder(job.user_id, attempt_folder(job.job_id, job.attempt))
    except (StorageError, OSError) as error:
        logger.warning("the files of the attempt could not be deleted: %s", error, extra=job.log_fields)


class Finalizer:
    """Apply callbacks, and results that the rescuer finds, in the same way."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        writer: BatchWriter,
        changes: JobChanges,
        *,
        prober: SourceProber,
        max_output_bytes: int,
        leases: LeaseRenewal,
        on_complete: Callable[[Job], None] = lambda _job: None,
        trace: Trace = lambda _step, _job: nullcontext(),
    ) -> None:
        """Take the prober of outputs, and the renewal of the leases of outputs being finalized.

        `on_complete` is called after the commit that completes a job. What `trace` returns is kept open during a step.
        """
        self._database = database
        self._storage = storage
        self._writer = writer
        self._changes = changes
        self._prober = prober
        self._max_output_bytes = max_output_bytes
        self._leases = leases
        self._on_complete = on_complete
        self._trace = trace

    async def apply(self, change: Change) -> Outcome:
        """Apply a change and return its outcome after the commit."""
        if change.report.output is None:
            return await self._submit(change)
        lease = self._leases.prepare(change.report.job_id)
        change = replace(change, finalizer=lease.finalizer)
        job = await self._start_finalizing(change, lease)
        if job is None:
            return await self._writer.submit(change)  # refused; this returns the reason
        return await self._finish_attempt(job, change, lease)

    async def _submit(self, change: Change) -> Outcome:
        """Apply a change without an output; delete an output that was published before."""
        outcome = await self._writer.submit(change)
        if isinstance(outcome, Applied) and outcome.job is not None:
            await self._changes.clean_up(outcome.job)
        return outcome

    async def _start_finalizing(self, change: Change, lease: FinalizeLease) -> Job | None:
        async with self._database.transaction() as session:
            job = await finalize_leases.acquire(
                session,
                change.report,
                lease.finalizer,
                lease_seconds=self._leases.lease_seconds,
                now=change.now,
            )
        if job is not None:
            self._changes.publish(job)
        return job

    async def _finish_attempt(self, job: Job, change: Change, lease: FinalizeLease) -> Outcome:
        """Finalize under an acquired lease; release it unless the change has ended the attempt."""
        outcome: Outcome | None = None
        try:
            outcome = await self._publish_and_submit(job, change, lease)
        finally:
            if not isinstance(outcome, Applied):
                await self._release_lease(lease)
        if outcome is not Refusal.HELD:
            await delete_attempt_files(self._storage, job)
        return outcome

    async def _publish_and_submit(self, job: Job, change: Change, lease: FinalizeLease) -> Outcome:
        """Verify and publish the output, then apply the result; neither if the lease is lost."""
        assert change.report.output is not None
        try:
            async with self._leases.keep(lease):
                with self._trace("publish", job):
                    failure = await self._publish_output(job, change.report.output, lease)
        except FinalizationTooLong:
            failure = TOO_LONG
        except LeaseLost:
            logger.warning(
                "the lease of the output is lost; another replica may finalize it", extra=job.log_fields
            )
            await self._changes.clean_up(job)
            return Refusal.HELD
        if failure is not None:
            logger.warning("the output was rejected: %s", failure.code, extra=job.log_fields)
            lost = with_lost_output(change.report, failure)
            return await self._submit(replace(change, type=EventType.FAILED, report=lost))
        with self._trace("commit", job):
            outcome = await self._writer.submit(change)
        if outcome is Refusal.OVER:
            await self._changes.clean_up(job)
        elif isinstance(outcome, Applied) and outcome.job is not None:
            self._on_complete(outcome.job)
        return outcome

    async def _publish_output(self, job: Job, output: Output, lease: FinalizeLease) -> Failure | None:
        """Verify an output and move it to its key; return the failure, None if it is published."""
        if output.size > await max_output_bytes(self._storage, job, self._max_output_bytes):
            return TOO_LARGE
        written = attempt_output_key(job)
        keys = (written, job.output_key)
        invalid = await check_output(self._storage, self._prober, job, keys, output)
        if invalid is not None:
            return invalid
        self._leases.require_valid(lease)
        try:
            is_published = await self._storage.publish(
                job.user_id, written, job.output_key, size=output.size, checksum=output.checksum
            )
        except PathConflict:
            return OBSTRUCTED
        return None if is_published else MISSING

    async def _release_lease(self, lease: FinalizeLease) -> None:
        """Release the lease; if the database is unavailable, the lease runs out instead."""
        try:
            async with self._database.transaction() as session:
                await finalize_leases.release(session, lease.job_id, lease.finalizer)
        except DATABASE_ERRORS as error:
            logger.warning("the lease of an output could not be released: %s", type(error).__name__)
