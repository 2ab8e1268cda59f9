"""What follows from a committed change of a job, in one place and in one order."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from service.fanout.hub import Hub
from service.fanout.notices import publish_completed, publish_erased
from service.fanout.publications import publication_of
from service.jobs.batches.completion import CompletedBatch
from service.jobs.erasures import Erasure
from service.jobs.models import Job, Status
from service.jobs.serializers import JobSerializer

PUBLISH_AT_ONCE = 25
CLEANUPS_AT_ONCE = 16


class Cleanup(Protocol):
    """What has to be done outside of the database; `service.dispatch.run_control` does it."""

    async def stop_attempt(self, job: Job) -> None:
        """Cancel the run of an attempt that has ended in the database, and delete what it stored."""
        ...

    async def delete_output(self, job: Job) -> None:
        """Delete the output of a job that has ended without success; no-op for any other."""
        ...

    def wake_dispatcher(self) -> None:
        """Look for pending jobs now."""
        ...


class JobChanges:
    """Carries out what a committed change of jobs calls for.

    Code that commits a change calls `notify`, after the commit and outside of the transaction. There are three
    exceptions: the batch writer publishes many jobs together, so the finalizer only cleans up after it; the
    notification channel only publishes, since the replica that made the change has cleaned up; an edit calls for no
    cleanup.
    """

    def __init__(
        self,
        hub: Hub,
        serializer: JobSerializer,
        cleanup: Cleanup,
        *,
        wake_deliveries: Callable[[Collection[str]], None] = lambda _job_ids: None,
        completed_batches: list[CompletedBatch] | None = None,
    ) -> None:
        """`wake_deliveries(job_ids)` sends the deliveries that the changes of these jobs wrote.

        `completed_batches` are committed; they are taken out and published after the state that has completed them.
        """
        self._hub = hub
        self._serializer = serializer
        self._cleanup = cleanup
        self._wake_deliveries = wake_deliveries
        self._completed_batches = completed_batches if completed_batches is not None else []

    async def notify(self, job: Job, *, ended_attempt: Job | None = None) -> None:
        """Publish the job, then stop, delete and start what its change calls for.

        `ended_attempt` is the job as it was while the attempt ran, if the change ended an attempt whose run may go on.
        """
        self.publish(job)
        await self.clean_up(job, ended_attempt=ended_attempt)

    async def notify_all(self, jobs: Sequence[Job], *, ended_attempts: bool = False) -> None:
        """Do for many jobs what `notify` does for one; with `ended_attempts` stop the run of each."""
        for number, job in enumerate(jobs):
            if number % PUBLISH_AT_ONCE == 0:
                await asyncio.sleep(0)  # lets other requests run
            self.publish(job)
        slots = asyncio.Semaphore(CLEANUPS_AT_ONCE)

        async def clean_up(job: Job) -> None:
            async with slots:
                await self.clean_up(job, ended_attempt=job if ended_attempts else None)

        await asyncio.gather(*map(clean_up, jobs))

    async def clean_up(self, job: Job, *, ended_attempt: Job | None = None) -> None:
        """Do the part of `notify` that follows when the job was published already."""
        if ended_attempt is not None:
            await self._cleanup.stop_attempt(ended_attempt)
        await self._cleanup.delete_output(job)
        if ended_attempt is not None or job.status is Status.PENDING:
            self._cleanup.wake_dispatcher()

    def publish(self, job: Job) -> None:
        """Send the job to its subscribers and wake its deliveries.

        Without subscribers it is not even encoded.
        """
        if self.has_subscribers(job.job_id, job.user_id):
            self._hub.publish(publication_of(self._serializer, job))
        self.wake_deliveries((job.job_id,))
        self._publish_batches()

    def publish_erased(self, erasure: Erasure) -> None:
        """Tell subscribers that an export was erased."""
        publish_erased(self._hub, erasure)
        self._publish_batches()

    def _publish_batches(self) -> None:
        while self._completed_batches:
            completed = self._completed_batches.pop(0)
            publish_completed(self._hub, completed)
            self.wake_deliveries((completed.batch.batch_id,))

    def wake_deliveries(self, job_ids: Collection[str]) -> None:
        """Send the deliveries that were written with the changes of these jobs."""
        self._wake_deliveries(job_ids)

    def has_subscribers(self, job_id: str, user_id: str) -> bool:
        """Check whether a subscriber would receive a state of the job."""
        return self._hub.has_subscribers(job_id, user_id)
