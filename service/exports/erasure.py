"""Erase exports for good: their rows at once, their files within a minute.

A purge deletes what the database has of the export and stores an `Erasure`, in one transaction. Its files are deleted
after that, in three sweeps: at once; when no process can be moving the output any more; and when the URLs to which a
run uploads have expired. What fails is tried again, by any replica, until it succeeds.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from infra.storage import InvalidKey, Storage, StorageError
from service.clock import Clock
from service.costs import usage
from service.dispatch.runners import Runner, RunnerRefused
from service.exports import delivery_erasure
from service.ingest.finalizer import attempt_folder
from service.jobs import erasures, queries, transitions
from service.jobs.erasures import Erasure
from service.jobs.models import Job
from service.problems import NotFound

logger = logging.getLogger("framehook.erasures")

INTERVAL_SECONDS = 5.0
LEASE_SECONDS = 60.0
RETRY_SECONDS = 5.0
DUE_AT_ONCE = 200
SWEEPS_AT_ONCE = 16
SETTLED_SECONDS = 30.0
"""How long a process can still move an output, or receive a response of a consumer, at most."""
LAST_SWEEP_SECONDS = 4_500.0
"""The URLs of parts are valid for an hour."""
TABLES = (
    "export_jobs",
    "export_events",
    "idempotency_keys",
    "job_metadata",
    "uploads",
    "usage_days",
    "erasures",
    "export_batches",
    "webhook_deliveries",
    "webhook_attempts",
)
"""The tables whose deleted rows are removed from the files of the database."""


@dataclass(frozen=True)
class Listeners:
    """Who learns of an erasure after its commit: the streams of this process, and the worker of webhooks."""

    publish: Callable[[Erasure], None]
    wake_deliveries: Callable[[], None]


class Eraser:
    """Purges exports and deletes what is left of them; safe to run on every replica."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        runner: Runner,
        listeners: Listeners,
        *,
        clock: Clock,
        settled_seconds: float = SETTLED_SECONDS,
    ) -> None:
        self._database = database
        self._storage = storage
        self._runner = runner
        self._listeners = listeners
        self._clock = clock
        self._settled_seconds = settled_seconds

    async def purge(self, user_id: str, job_id: str) -> None:
        """Erase an export in any state; an erased one stays erased. Raises NotFound.

        The files are deleted before this returns, or later if the storage is unavailable.
        """
        erasure = await self._purge_rows(user_id, job_id)
        if erasure is None:
            return
        self._listeners.publish(erasure)
        self._listeners.wake_deliveries()
        await self.delete_now(erasure)

    async def purge_all(self, user_id: str, job_ids: Sequence[str]) -> None:
        """Erase some exports, those of them that still exist, in one transaction."""
        now = self._clock.wall()
        async with self._database.transaction() as session:
            rows = [await _erase_rows(session, user_id, job_id, now=now) for job_id in job_ids]
        erased = [erasure for erasure in rows if erasure is not None]
        for erasure in erased:
            self._listeners.publish(erasure)
        self._listeners.wake_deliveries()
        await self._sweep_now(erased)

    async def delete_now(self, erasure: Erasure) -> None:
        """Do the first sweep of an erasure that was just committed."""
        await self._sweep_now([erasure])

    async def run(self) -> None:
        """Delete what is due until cancelled."""
        while True:
            await self.sweep_due()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def sweep_due(self) -> int:
        """Do one round; return how many erasures were due."""
        async with self._database.transaction() as session:
            due = await erasures.lease_due(
                session, limit=DUE_AT_ONCE, lease_seconds=LEASE_SECONDS, now=self._clock.wall()
            )
        swept = await self._delete_all_files(due)
        settled = [erasure for erasure in due if erasure.sweeps == 1]
        is_reclaimed = not settled or await self._reclaim(settled)
        for erasure, succeeded in zip(due, swept, strict=True):
            await self._record(erasure, succeeded=succeeded and (is_reclaimed or erasure.sweeps != 1))
        return len(due)

    async def _sweep_now(self, erased: Sequence[Erasure]) -> None:
        """Do the first sweep of erasures that were just committed."""
        for erasure, succeeded in zip(erased, await self._delete_all_files(erased), strict=True):
            await self._record(erasure, succeeded=succeeded)

    async def _delete_all_files(self, erased: Sequence[Erasure]) -> list[bool]:
        slots = asyncio.Semaphore(SWEEPS_AT_ONCE)

        async def sweep(erasure: Erasure) -> bool:
            async with slots:
                return await self._delete_files(erasure)

        return await asyncio.gather(*map(sweep, erased))

    async def _purge_rows(self, user_id: str, job_id: str) -> Erasure | None:
        """Delete the rows of an export; None if that was done before."""
        async with self._database.transaction() as session:
            now = self._clock.wall()
            erasure = await _erase_rows(session, user_id, job_id, now=now)
            if erasure is None and await erasures.find(session, user_id, job_id, now=now) is None:
                raise NotFound("The export does not exist.")
        return erasure

    async def _delete_files(self, erasure: Erasure) -> bool:
        """Stop the run and delete the files that are there; False if the storage did not allow it."""
        if erasure.call_id is not None:
            try:
                await self._runner.cancel(erasure.call_id)
            except RunnerRefused as refused:  # the run stops at its next callback, which is answered 404
                logger.warning("the run could not be cancelled: %s", refused.code, extra=log_fields(erasure))
        try:
            if erasure.is_upload:
                await self._storage.delete_folder(erasure.user_id, erasure.job_id)
            for attempt in range(1, erasure.attempts + 1):
                await self._storage.delete_folder(erasure.user_id, attempt_folder(erasure.job_id, attempt))
            if erasure.output_key is not None:
                await self._storage.erase(erasure.user_id, erasure.output_key)
        except InvalidKey:  # of an older version, or through a link: there is no file of ours
            return True
        except (StorageError, OSError) as error:
            logger.warning(
                "the files of an erased export can't be deleted yet: %s", error, extra=log_fields(erasure)
            )
            return False
        return True

    async def _reclaim(self, settled: Sequence[Erasure]) -> bool:
        """Remove late responses of consumers, and then all deleted rows from the files of the database."""
        try:
            for erasure in settled:
                async with self._database.transaction() as session:
                    await delivery_erasure.blank_deliveries(
                        session, erasure.user_id, erasure.job_id, now=self._clock.wall()
                    )
            return await self._database.reclaim(TABLES)
        except DATABASE_ERRORS as error:
            logger.warning("deleted rows can't be removed from the files yet: %s", type(error).__name__)
            return False

    async def _record(self, erasure: Erasure, *, succeeded: bool) -> None:
        """Store when the next sweep is due."""
        now = self._clock.wall()
        ages = (self._settled_seconds, LAST_SWEEP_SECONDS)
        async with self._database.transaction() as session:
            if not succeeded:
                await erasures.postpone(session, erasure, next_at=now + RETRY_SECONDS)
                return
            is_last = erasure.sweeps >= len(ages)
            next_at = None if is_last else max(now, erasure.erased_at + ages[erasure.sweeps])
            await erasures.record_sweep(session, erasure, next_at=next_at)


async def _erase_rows(session: AsyncSession, user_id: str, job_id: str, *, now: float) -> Erasure | None:
    """Delete the rows of an export and write `export.erased`; None if there is no such export."""
    forgotten = await forget_export(session, user_id, job_id, now=now)
    if forgotten is None:
        return None
    job, erasure = forgotten
    await delivery_erasure.blank_deliveries(session, user_id, job.job_id, now=now)
    await delivery_erasure.write_erased(session, job, erasure)
    return erasure


async def forget_export(
    session: AsyncSession, user_id: str, job_id: str, *, now: float
) -> tuple[Job, Erasure] | None:
    """Delete the rows of a user's export and store what is left to delete; None if there is no such export."""
    await transitions.lock_user(session, user_id)
    known = await queries.get(session, user_id, job_id)
    job = await erasures.purge(session, user_id, known.job_id) if known is not None else None
    if job is None:
        return None
    await usage.record_purge(session, job, now=now)
    owns_output_key = erasures.has_output_key(job, now) or not await queries.find_key_holders(
        session, user_id, [job.output_key], now=now
    )
    return job, await erasures.record(session, job, owns_output_key=owns_output_key, now=now)


def log_fields(erasure: Erasure) -> dict[str, object]:
    """Return the `extra` of a log record about an erasure."""
    return {"job": erasure.job_id}
