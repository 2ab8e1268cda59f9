"""Expire outputs: announce the end a day before, then delete the file and keep the export.

An export expires once it is complete and its time has come. One transaction marks the export, frees its room, writes
the event and stores an `Erasure` of the file, which is deleted as those of purged exports are.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sqlalchemy import ColumnElement, and_, select

from infra.database.base import Database
from service.clock import DAY_SECONDS, Clock, DeletionClock
from service.exports import delivery_erasure
from service.exports.erasure import Eraser
from service.jobs import erasures, transitions
from service.jobs.erasures import Erasure
from service.jobs.models import CAN_EXPIRE, EXPIRED, EXPIRY_ANNOUNCED, JOBS, Job
from service.jobs.serializers import JobSerializer
from service.jobs.transitions import annotate, match_job

INTERVAL_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = DAY_SECONDS
"""How long before its end a file is announced to expire."""
BATCH_ROWS: Final = 100


class Expiry:
    """The loop that expires outputs; safe to run on every replica."""

    def __init__(
        self,
        database: Database,
        eraser: Eraser,
        serializer: JobSerializer,
        publish: Callable[[Job], None],
        clock: Clock,
    ) -> None:
        """Take what shows jobs to webhooks, and what sends a changed job to its subscribers."""
        self._database = database
        self._eraser = eraser
        self._serializer = serializer
        self._publish = publish
        self._clock = clock
        self._deletion_clock = DeletionClock(clock)

    async def run(self) -> None:
        """Do a round every minute until cancelled."""
        while True:
            await self.expire_due()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def expire_due(self) -> int:
        """Expire what is due, then announce what is due within a day; return how many files expired."""
        now = self._deletion_clock.read()
        expired = await self._advance_all(EXPIRED, before=now)
        await self._advance_all(EXPIRY_ANNOUNCED, before=now + NOTICE_SECONDS)
        return expired

    async def _advance_all(self, step: int, *, before: float) -> int:
        count = 0
        while due := await self._list_due(step, before):
            for user_id, job_id in due:
                count += await self._advance(user_id, job_id, step)
        return count

    async def _list_due(self, step: int, before: float) -> list[tuple[str, str]]:
        query = select(JOBS.c.user_id, JOBS.c.job_id).where(_is_due(step), JOBS.c.expires_at <= before)
        async with self._database.reading() as session:
            rows = await session.execute(query.order_by(JOBS.c.expires_at).limit(BATCH_ROWS))
            return [(user_id, job_id) for user_id, job_id in rows]

    async def _advance(self, user_id: str, job_id: str, step: int) -> bool:
        """Announce or expire one export, unless another replica has done it."""
        now = self._clock.wall()
        erasure: Erasure | None = None
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            is_due = and_(match_job(job_id, user_id), _is_due(step))
            job = await annotate(session, is_due, {"expiry_step": step, "edited_at": now})
            if job is None:
                return False
            if step == EXPIRED:
                erasure = await erasures.record_output(session, job, now=now)
            await delivery_erasure.write_expired(session, job, self._serializer, now=now)
        self._publish(job)
        if erasure is not None:
            await self._eraser.delete_now(erasure)
        return True


def _is_due(step: int) -> ColumnElement[bool]:
    return and_(CAN_EXPIRE, JOBS.c.expiry_step < step)
