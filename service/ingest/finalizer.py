"""What a run reports, taken in: an output is checked and moved into its place before the row says `complete`."""

import logging

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
from service.ingest.output_limits import max_output_bytes
from service.jobs import finalize_leases
from service.jobs.models import Job

logger = logging.getLogger("framehook.outcomes")

MISSING = Failure(
    code="output_missing", message="The exported file did not arrive in storage whole.", transient=True
)
TOO_LARGE = Failure(
    code="output_too_large",
    message="The export is larger than it may be; choose a lower quality, a smaller picture, or less of the source.",
)
TOO_LONG = Failure(
    code="finalize_timeout",
    message="Checking the exported file and moving it to its place took too long.",
    transient=True,
)
OBSTRUCTED = Failure(
    code="output_key_obstructed", message="A folder, or another file, is in the way of the exported file."
)


def attempt_key(job_id: str, attempt: int) -> str:
    """Where an attempt writes: a key of its own, which no client can name."""
    return f"{attempt_folder(job_id, attempt)}/output.mp4"


def attempt_folder(job_id: str, attempt: int) -> str:
    """Everything that an attempt leaves in storage lies under this."""
    return f".attempts/{job_id}-{attempt}"


async def delete_attempt_files(storage: Storage, job: Job) -> None:
    """Remove what an attempt left in storage; what can't be removed now, the bucket's own rules remove later."""
    try:
        await storage.delete_folder(job.user_id, attempt_folder(job.job_id, job.attempt))
    except StorageError as error:
        logger.warning("what the attempt left could not be removed: %s", error.code, extra=job.log_fields)


class Finalizer:
    """Callbacks, and results that were recovered elsewhere, all pass through `settle`."""

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
    ) -> None:
        """`prober` looks at outputs; `leases` renews those of the outputs that are being checked and moved."""
        self._database = database
        self._storage = storage
        self._writer = writer
        self._changes = changes
        self._prober = prober
        self._max_output_bytes = max_output_bytes
        self._leases = leases

    async def apply(self, change: Change) -> Outcome:
        """Take the change in; returns after its commit."""
        if change.report.output is None:
            return await self._submit(change)
        lease = self._leases.prepare(change.report.job_id)
        change = replace(change, finalizer=lease.finalizer)
        job = await self._start_finalizing(change, lease)
        if job is None:
            return await self._writer.submit(change)  # it can't be applied; this tells why
        return await self._finish_attempt(job, change, lease)

    async def _submit(self, change: Change) -> Outcome:
        """Apply a change that completes nothing; an output that was in its place before does not stay there."""
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
        """Check and publish the output, and tell the row what came of it, unless the lease is lost before."""
        assert change.report.output is not None
        try:
            async with self._leases.keep(lease):
                failure = await self._publish_output(job, change.report.output, lease)
        except FinalizationTooLong:
            failure = TOO_LONG
        except LeaseLost:
            logger.warning("another replica may take the output in by now", extra=job.log_fields)
            await self._changes.clean_up(job)
            return Refusal.HELD
        if failure is not None:
            logger.warning("the output was not taken: %s", failure.code, extra=job.log_fields)
            lost = with_lost_output(change.report, failure)
            return await self._submit(replace(change, type=EventType.FAILED, report=lost))
        outcome = await self._writer.submit(change)
        if outcome is Refusal.OVER:
            await self._changes.clean_up(job)
        return outcome

    async def _publish_output(self, job: Job, output: Output, lease: FinalizeLease) -> Failure | None:
        """Check an output and move it into its place; why that could not be, if it could not."""
        if output.size > await max_output_bytes(self._storage, job, self._max_output_bytes):
            return TOO_LARGE
        written = attempt_key(job.job_id, job.attempt)
        owner, keys = (job.user_id, job.job_id), (written, job.output_key)
        invalid = await check_output(self._storage, self._prober, owner, keys, output)
        if invalid is not None:
            return invalid
        self._leases.require_valid(lease)
        try:
            there = await self._storage.publish(
                job.user_id, written, job.output_key, size=output.size, checksum=output.checksum
            )
        except PathConflict:
            return OBSTRUCTED
        return None if there else MISSING

    async def _release_lease(self, lease: FinalizeLease) -> None:
        """Let others have the lease; where the database is away, they get it when it runs out."""
        try:
            async with self._database.transaction() as session:
                await finalize_leases.release(session, lease.job_id, lease.finalizer)
        except DATABASE_ERRORS as error:
            logger.warning("the lease of an output could not be released: %s", type(error).__name__)
