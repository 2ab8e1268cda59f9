"""Stop runs, and delete what attempts leave in storage."""

import logging
import time

from infra.database.base import Database
from infra.storage import Storage
from service.dispatch.runners import Runner, RunnerRefused
from service.ingest.finalizer import delete_attempt_files
from service.jobs import queries
from service.jobs.models import Job, Status

logger = logging.getLogger("framehook.attempts")


class RunControl:
    """Does what a change of a job calls for outside of the database.

    `service.fanout.changes.JobChanges` calls it after each commit. Safe to use on every replica.
    """

    def __init__(self, database: Database, storage: Storage, runner: Runner) -> None:
        self._database = database
        self._storage = storage
        self._runner = runner

    async def stop_attempt(self, job: Job) -> None:
        """Cancel the run of an attempt that has ended in the database, and delete what it stored."""
        if job.call_id is not None:
            await self.cancel_call(job, job.call_id)
        await delete_attempt_files(self._storage, job)

    async def cancel_call(self, job: Job, call_id: str) -> None:
        """Cancel a call.

        If the runner refuses, the run stops at its next callback, which is answered 410.
        """
        try:
            await self._runner.cancel(call_id)
        except RunnerRefused as refused:
            logger.warning("the run could not be cancelled: %s", refused.code, extra=job.log_fields)

    async def delete_output(self, job: Job) -> None:
        """Delete an output that was published before its job ended in another way than `complete`."""
        if job.output_checksum is None or job.status is Status.COMPLETE:
            return
        async with self._database.reading() as session:
            stored = await queries.get(session, job.user_id, job.job_id)
            # Another export may have taken the key since, and have made the very same file.
            holders = await queries.find_key_holders(
                session, job.user_id, [job.output_key], now=time.time(), excluding=job.job_id
            )
        if not holders and stored is not None and stored.status in (Status.CANCELLED, Status.ERROR):
            await self._storage.delete(job.user_id, job.output_key, checksum=job.output_checksum)

    def wake_dispatcher(self) -> None:
        """Look for pending jobs now."""
        self._runner.freed.set()
