"""Erase a batch for good: all of its exports, as single ones are erased, and then the batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, update

from infra.database.base import Database
from service.audit.actions import Action
from service.audit.log import record
from service.exports import delivery_erasure
from service.exports.erasure import Eraser
from service.jobs import erasures, transitions
from service.jobs.batches.models import BATCHES, CLOSED
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.models import JOBS
from service.problems import NotFound

CHUNK: Final = 25
"""Exports that are erased by one transaction: others wait for as long as it takes."""


@dataclass(frozen=True)
class BatchEraser:
    """Purges batches. What is interrupted goes on when the purge is repeated."""

    database: Database
    eraser: Eraser
    clock: Callable[[], float]

    async def purge(self, user_id: str, batch_id: str) -> None:
        """Erase a batch with its exports, in any state; an erased one stays erased. Raises NotFound."""
        if not await self._close(user_id, batch_id):
            return
        is_of_batch = (JOBS.c.user_id == user_id, JOBS.c.batch_id == batch_id)
        some = select(JOBS.c.job_id).where(*is_of_batch).order_by(JOBS.c.job_id).limit(CHUNK)
        while True:
            async with self.database.reading() as session:
                job_ids = list((await session.execute(some)).scalars())
            if not job_ids:
                break
            await self.eraser.purge_all(user_id, job_ids)
        await self._forget(user_id, batch_id)

    async def _close(self, user_id: str, batch_id: str) -> bool:
        """Have the batch complete without an event; False if it is erased already. Raises NotFound."""
        completed_at = func.coalesce(BATCHES.c.completed_at, CLOSED)
        async with self.database.transaction() as session:
            is_batch = (BATCHES.c.batch_id == batch_id, BATCHES.c.user_id == user_id)
            closed = update(BATCHES).where(*is_batch).values(completed_at=completed_at)
            if (await session.execute(closed.returning(BATCHES.c.batch_id))).first() is not None:
                return True
            if await erasures.find(session, user_id, batch_id, now=self.clock()) is None:
                raise NotFound("The batch does not exist.")
        return False

    async def _forget(self, user_id: str, batch_id: str) -> None:
        """Delete the row of the batch, its key and what deliveries have of it; keep that it was erased."""
        async with self.database.transaction() as session:
            await transitions.lock_user(session, user_id)
            await session.execute(
                delete(BATCHES).where(BATCHES.c.batch_id == batch_id, BATCHES.c.user_id == user_id)
            )
            is_key = (IDEMPOTENCY_KEYS.c.user_id == user_id, IDEMPOTENCY_KEYS.c.job_id == batch_id)
            await session.execute(delete(IDEMPOTENCY_KEYS).where(*is_key))
            now = self.clock()
            await delivery_erasure.blank_deliveries(session, user_id, [batch_id], now=now)
            erasure = await erasures.record_object(session, user_id, batch_id, now=now)
            await record(session, Action.BATCH_ERASED, user_id, [batch_id], now=now)
        await self.eraser.delete_now(erasure)
