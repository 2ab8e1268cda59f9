"""Erase exports for good: their rows at once, their files within a minute.

A purge deletes what the database has of the export and stores an `Erasure`, in one transaction. Its files are deleted
after that, in three sweeps: at once; when no process can be moving the output any more; and when the URLs to which a
run uploads have expired. What fails is tried again, by any replica, until it succeeds.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from infra.storage import InvalidKey, Storage, StorageError
from service.audit.actions import Action
from service.audit.log import record
from service.clock import Clock, ClockCheck
from service.costs import usage
from service.dispatch.runners import Runner, RunnerRefused
from service.exports import delivery_erasure
from service.exports.erasure_times import LAST_SWEEP_SECONDS, LEASE_SECONDS, correct_times
from service.ingest.finalizer import attempt_folder
from service.jobs import erasures, queries, transitions
from service.jobs.erasures import Erasure
from service.jobs.models import Job
from service.problems import NotFound

logger = logging.getLogger("framehook.erasures")

INTERVAL_SECONDS = 5.0
RETRY_SECONDS = 5.0
DUE_AT_ONCE = 200
SWEEPS_AT_ONCE = 16
SETTLED_SECONDS = 30.0
"""How long a process can still move an output, or receive a response of a consumer, at most."""
TABLES = (
    "export_jobs",
    "export_events",
    "idempotency_keys",
    "job_metadata",
    "uploads",
    "usage_days",
    "erasures",
    "export_batches",
    "api_keys",
    "audit_log",
    "webhook_deliveries",
    "webhook_attempts",
)
"""The tables whose deleted rows are removed from the files of the database."""


@dataclass(frozen=True)
class ErasureObservers:
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
        observers: ErasureObservers,
        *,
        clock: Clock,
        settled_seconds: float = SETTLED_SECONDS,
    ) -> None:
        self._database = database
        self._storage = storage
        self._runner = runner
        self._observers = observers
        self._clock = clock
        self._settled_seconds = settled_seconds
        self._clock_check = ClockCheck()

    async def purge(self, user_id: str, job_id: str) -> None:
        """Erase an export in any state; an erased one stays erased. Raises NotFound.

        The files are deleted before this returns, or later if the storage is unavailable.
        """
        erasure = await self._purge_rows(user_id, job_id)
        if erasure is None:
            return
        self._observers.publish(erasure)
        self._observers.wake_deliveries()
        await self.delete_now(erasure)

    async def purge_all(self, user_id: str, job_ids: Sequence[str]) -> None:
        """Erase some exports, those of them that still exist, in one transaction."""
        async with self._database.transaction() as session:
            erased = await _erase_rows(session, user_id, job_ids, now=self._clock.wall())
        for erasure in erased:
            self._observers.publish(erasure)
        self._observers.wake_deliveries()
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
        now = self._clock.wall()
        is_check_due = self._clock_check.is_due(now)
        async with self._database.transaction() as session:
            if is_check_due:
                await correct_times(session, now=now)
            due = await erasures.lease_due(session, limit=DUE_AT_ONCE, lease_seconds=LEASE_SECONDS, now=now)
        self._clock_check.record(now, checked=is_check_due)
        swept = await self._delete_all_files(due)
        settled = [erasure for erasure in due if erasure.sweeps == 1]
        is_reclaimed = not settled or await self._reclaim(settled)
        await self._record(
            {
                erasure: succeeded and (is_reclaimed or erasure.sweeps != 1)
                for erasure, succeeded in zip(due, swept, strict=True)
            }
        )
        return len(due)

    async def _sweep_now(self, erased: Sequence[Erasure]) -> None:
        """Do the first sweep of erasures that were just committed."""
        swept = await self._delete_all_files(erased)
        await self._record(dict(zip(erased, swept, strict=True)))

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
            await transitions.lock_user(session, user_id)
            known = await queries.get(session, user_id, job_id)
            if known is not None:
                (erasure,) = await _erase_rows(session, user_id, [known.job_id], now=now)
                return erasure
            if await erasures.find(session, user_id, job_id, now=now) is None:
                raise NotFound("The export does not exist.")
        return None

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
                        session, erasure.user_id, [erasure.job_id], now=self._clock.wall()
                    )
            return await self._database.reclaim(TABLES)
        except DATABASE_ERRORS as error:
            logger.warning("deleted rows can't be removed from the files yet: %s", type(error).__name__)
            return False

    async def _record(self, results: Mapping[Erasure, bool]) -> None:
        """Store which sweeps have succeeded, and when the next ones are due."""
        now = self._clock.wall()
        swept = {
            erasure: self._find_next(erasure, now) for erasure, succeeded in results.items() if succeeded
        }
        async with self._database.transaction() as session:
            await erasures.record_sweeps(session, swept)
            await erasures.postpone(session, results.keys() - swept.keys(), next_at=now + RETRY_SECONDS)

    def _find_next(self, erasure: Erasure, now: float) -> float | None:
        """Return when the sweep after the present one is due; None after the last."""
        ages = (self._settled_seconds, LAST_SWEEP_SECONDS)
        return max(now, erasure.erased_at + ages[erasure.sweeps]) if erasure.sweeps < len(ages) else None


async def _erase_rows(
    session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float
) -> list[Erasure]:
    """Delete the rows of exports and write `export.erased`; return what is left to delete of those that exist."""
    jobs, erased = await forget_exports(session, user_id, job_ids, now=now)
    ids = [job.job_id for job in jobs]
    await delivery_erasure.blank_deliveries(session, user_id, ids, now=now)
    await delivery_erasure.write_erased(session, jobs, erased)
    await record(session, Action.EXPORT_ERASED, user_id, ids, now=now)
    return erased


async def forget_exports(
    session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float
) -> tuple[list[Job], list[Erasure]]:
    """Delete the rows of those of a user's exports that exist, and store what is left to delete of each."""
    await transitions.lock_user(session, user_id)
    jobs = await erasures.purge(session, user_id, job_ids)
    await usage.record_purge(session, jobs, now=now)
    owned_keys = {job.output_key for job in jobs if erasures.has_output_key(job, now)}
    other_keys = {job.output_key for job in jobs} - owned_keys
    holders = await queries.find_key_holders(session, user_id, list(other_keys), now=now)
    owned_keys |= other_keys - holders.keys()
    return jobs, await erasures.record(session, jobs, owned_keys=owned_keys, now=now)


def log_fields(erasure: Erasure) -> dict[str, object]:
    """Return the `extra` of a log record about an erasure."""
    return {"job": erasure.job_id}
