"""Stop runs and end attempts: cancel the call, delete what it wrote, and requeue or fail the job."""

import logging
import random
from collections.abc import Callable

from infra.database.postgresql import Database
from infra.storage import Storage
from service.clock import Clock
from service.dispatch.attempt_failures import AttemptFailure, end_attempt
from service.dispatch.runners import Runner, RunnerRefused
from service.ingest.finalizer import Finalizer, delete_attempt_files
from service.jobs.models import Job

logger = logging.getLogger("framehook.attempts")


class RunControl:
    """Ends attempts for the dispatcher, the rescuer and the API; safe to use on every replica."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        runner: Runner,
        outcomes: Finalizer,
        publish: Callable[[Job], None],
        clock: Clock,
    ) -> None:
        self._database = database
        self._storage = storage
        self._runner = runner
        self._outcomes = outcomes
        self._publish = publish
        self._clock = clock

    async def fail_attempt(self, job: Job, failure: AttemptFailure) -> None:
        """Requeue the job or fail it, and stop what is left of the attempt; no-op if it is over already."""
        jitter = random.random()  # noqa: S311 - not for a secret
        async with self._database.transaction() as session:
            updated = await end_attempt(session, job, failure, now=self._clock.wall(), random=jitter)
        if updated is not None:
            self._publish(updated)
            await self.stop_attempt(job)
            await self._outcomes.delete_output(updated)
            self._runner.freed.set()

    async def stop_attempt(self, job: Job) -> None:
        """Cancel the run of an attempt that has ended in the database, and delete what it stored."""
        if job.call_id is not None:
            await self.cancel_call(job, job.call_id)
        await delete_attempt_files(self._storage, job)

    async def cancel_call(self, job: Job, call_id: str) -> None:
        """Cancel a call; if the runner refuses, the run stops at its next callback, which is answered 410."""
        try:
            await self._runner.cancel(call_id)
        except RunnerRefused as refused:
            logger.warning("the run could not be cancelled: %s", refused.code, extra=job.log_fields)
