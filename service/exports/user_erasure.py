"""Erase a user: every export, upload, webhook and file, with a receipt of what was deleted.

It may be interrupted and repeated. A service that runs at the same time stops the runs and sweeps what comes late.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from infra.database.base import Database
from infra.storage import Storage
from service.audit.actions import Action
from service.audit.log import record
from service.costs import usage
from service.exports import delivery_erasure
from service.exports.erasure import TABLES, forget_exports
from service.jobs import erasures, uploads
from service.jobs.erasures import ERASURES
from service.jobs.models import EVENTS, JOBS
from service.webhooks.models import ATTEMPTS, DELIVERIES

BATCH_ROWS: Final = 200
EXPORTS_AT_ONCE: Final = 20
_KEPT: Final = frozenset({JOBS.name, ERASURES.name})
"""Deleted one export at a time; stubs are kept until what comes late is swept, and for thirty days."""


@dataclass(frozen=True)
class Receipt:
    """What a user had: rows by the name of their table, files and their bytes."""

    user_id: str
    rows: Mapping[str, int]
    files: int
    bytes: int


class UserEraser:
    """Counts and erases what there is of users."""

    def __init__(self, database: Database, storage: Storage, clock: Callable[[], float]) -> None:
        self._database = database
        self._storage = storage
        self._clock = clock

    async def measure(self, user_id: str) -> Receipt:
        """Count what an erasure would delete."""
        async with self._database.reading() as session:
            rows = {
                table.name: await _count(session, table, user_id) for table in _list_tables(with_kept=True)
            }
        files = await self._storage.measure_user(user_id)
        counted = {name: count for name, count in sorted(rows.items()) if count}
        return Receipt(user_id, counted, files.objects, files.bytes)

    async def erase(self, user_id: str, *, audit_id: str) -> Receipt:
        """Erase everything; return what there was. Raises StorageError with the files still to be deleted.

        The last rows are deleted in the transaction of the entry of the audit log, which has the `audit_id`: as long as
        there is no entry, the erasure is to be repeated.
        """
        receipt = await self.measure(user_id)
        while await self._forget_exports(user_id):
            pass
        async with self._database.transaction() as session:
            await usage.forget_user(session, user_id)
        await self._forget_uploads(user_id)
        await self._storage.delete_user(user_id)
        for table in _list_tables():
            while await self._delete_full_batch(table, user_id):
                pass
        await self._delete_rest(user_id, audit_id)
        await self._database.reclaim(TABLES)
        return receipt

    async def _forget_exports(self, user_id: str) -> int:
        """Purge some exports; the sweeps that follow are the service's, as after any purge."""
        async with self._database.reading() as session:
            query = select(JOBS.c.job_id).where(JOBS.c.user_id == user_id).limit(BATCH_ROWS)
            job_ids = list((await session.execute(query)).scalars())
        for start in range(0, len(job_ids), EXPORTS_AT_ONCE):
            chunk = job_ids[start : start + EXPORTS_AT_ONCE]
            async with self._database.transaction() as session:
                now = self._clock()
                await forget_exports(session, user_id, chunk, now=now)
                await delivery_erasure.blank_deliveries(session, user_id, chunk, now=now)
        return len(job_ids)

    async def _forget_uploads(self, user_id: str) -> None:
        """Store which folders have to be swept: the URLs of these uploads are still valid."""
        now = self._clock()
        async with self._database.transaction() as session:
            for key in await uploads.list_open_keys(session, user_id, now=now):
                if (folder := uploads.folder_of(key)) is not None:
                    await erasures.record_object(session, user_id, folder, now=now)

    async def _delete_full_batch(self, table: Table, user_id: str) -> bool:
        """Delete a batch of rows if that leaves others."""
        columns = table.primary_key.columns
        batch = select(*columns).where(_is_of_user(table, user_id)).limit(BATCH_ROWS + 1)
        async with self._database.transaction() as session:
            keys = [tuple(row) for row in await session.execute(batch)]
            if len(keys) <= BATCH_ROWS:
                return False
            await session.execute(delete(table).where(tuple_(*columns).in_(keys[:BATCH_ROWS])))
        return True

    async def _delete_rest(self, user_id: str, audit_id: str) -> None:
        async with self._database.transaction() as session:
            for table in _list_tables():
                await session.execute(delete(table).where(_is_of_user(table, user_id)))
            await record(session, Action.USER_ERASED, None, [audit_id], now=self._clock())


def _list_tables(*, with_kept: bool = False) -> list[Table]:
    """Return the tables that have rows of users; those that refer to others come first."""
    tables = SQLModel.metadata.sorted_tables
    own = [table for table in tables if "user_id" in table.columns and (with_kept or table.name not in _KEPT)]
    return [ATTEMPTS, EVENTS, *own]


async def _count(session: AsyncSession, table: Table, user_id: str) -> int:
    query = select(func.count()).select_from(table).where(_is_of_user(table, user_id))
    return int(await session.scalar(query) or 0)


def _is_of_user(table: Table, user_id: str) -> ColumnElement[bool]:
    if table is ATTEMPTS:
        own = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.user_id == user_id)
        return ATTEMPTS.c.delivery_id.in_(own)
    if table is EVENTS:
        return EVENTS.c.job_id.in_(select(JOBS.c.job_id).where(JOBS.c.user_id == user_id))
    column: ColumnElement[str] = table.c.user_id
    return column == user_id
