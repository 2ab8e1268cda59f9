"""See what was uploaded, delete it, and sweep what never came or is too old."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.storage import Storage, StorageError, StoredObject
from service.audit.actions import Action
from service.audit.log import record
from service.clock import Clock, DeletionClock
from service.exports import checks
from service.exports.checks import UploadInUse
from service.exports.erasure import Eraser
from service.forecast.work import SourceFacts
from service.jobs import erasures, queries, transitions, uploads
from service.jobs.models import Job
from service.jobs.uploads import Upload
from service.problems import NotFound

logger = logging.getLogger("framehook.uploads")

SWEEP_SECONDS = 3_600.0
SWEEP_ROWS = 200
GRACE_SECONDS = 900.0
"""A request that began before its URL expired may still be sending."""


@dataclass(frozen=True)
class UploadLimits:
    """How many bytes one user's files may take, and how long uploads are kept; 0 means without a limit."""

    bytes_per_user: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ListedUpload:
    """An upload, whether the file is there, and the active exports that read it."""

    upload: Upload
    is_stored: bool
    used_by: Sequence[str]
    expires_at: float | None


class UploadService:
    """The use cases behind `/api/uploads`; safe to run on every replica."""

    def __init__(
        self, database: Database, storage: Storage, eraser: Eraser, limits: UploadLimits, clock: Clock
    ) -> None:
        self._database = database
        self._storage = storage
        self._eraser = eraser
        self._limits = limits
        self._clock = clock
        self._deletion_clock = DeletionClock(clock)

    async def announce(self, user_id: str, key: str, *, size: int, seconds: float) -> None:
        """Store that a file of this size may come within this time; raises StorageQuotaExceeded."""
        now = self._clock.wall()
        upload = Upload(user_id=user_id, key=key, size=size, created_at=now, expires_at=now + seconds)
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            await checks.check_bytes(session, user_id, self._limits.bytes_per_user, more=size)
            await uploads.insert_upload(session, upload)
            await record(session, Action.UPLOAD_CREATED, user_id, [_name_upload(key)], now=now)

    async def record_facts(self, user_id: str, key: str, facts: SourceFacts) -> None:
        """Keep with an upload what a probe found in it."""
        async with self._database.transaction() as session:
            await uploads.record_facts(session, user_id, key, facts)

    async def list_page(self, user_id: str, *, before: str | None, limit: int) -> list[ListedUpload]:
        """Return a page of uploads, newest first."""
        async with self._database.reading() as session:
            page = await uploads.list_page(session, user_id, before=before, limit=limit)
            active = await queries.list_active(session, user_id)
        stored = await asyncio.gather(*map(self._find_stored, page))
        return [
            ListedUpload(upload, is_stored, _list_readers(active, upload.key), self._expiry_of(upload))
            for upload, is_stored in zip(page, stored, strict=True)
        ]

    async def delete(self, user_id: str, key: str) -> None:
        """Delete an upload, sent or not; a deleted one stays deleted. Raises NotFound or UploadInUse."""
        folder = uploads.folder_of(key)
        if folder is None:
            raise NotFound("The upload does not exist.")
        is_stored = await self._storage.find(user_id, key) is not None
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            now = self._clock.wall()
            if readers := _list_readers(await queries.list_active(session, user_id), key):
                raise UploadInUse(
                    f"The export {readers[0]} reads this file; cancel it, or wait until it ends."
                )
            has_row = await uploads.delete_row(session, user_id, key)
            if not (has_row or is_stored):
                if await erasures.find(session, user_id, folder, now=now) is None:
                    raise NotFound("The upload does not exist.")
                return
            erasure = await erasures.record_object(session, user_id, folder, now=now)
            await record(session, Action.UPLOAD_DELETED, user_id, [folder], now=now)
        await self._eraser.delete_now(erasure)

    async def record_abortion(self, user_id: str, key: str) -> None:
        """Store who has aborted an upload in parts."""
        async with self._database.transaction() as session:
            now = self._clock.wall()
            await record(session, Action.UPLOAD_ABORTED, user_id, [_name_upload(key)], now=now)

    async def run(self) -> None:
        """Sweep once an hour."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Drop uploads that never came, and delete those that are too old; return how many."""
        return await self._drop_abandoned() + await self._delete_old()

    async def _drop_abandoned(self) -> int:
        """Look for the files whose URLs have expired, and delete the rows and parts of those that did not come."""
        dropped = 0
        while True:
            now = self._deletion_clock.read()
            async with self._database.reading() as session:
                overdue = await uploads.list_overdue(session, limit=SWEEP_ROWS, now=now - GRACE_SECONDS)
            try:
                stored_objects = [await self._storage.find(upload.user_id, upload.key) for upload in overdue]
            except StorageError as error:
                logger.warning("announced uploads can't be looked for now: %s", error.code)
                return dropped
            async with self._database.transaction() as session:
                for upload, stored in zip(overdue, stored_objects, strict=True):
                    dropped += stored is None
                    await _settle(session, upload, stored)
            if len(overdue) < SWEEP_ROWS:
                return dropped

    async def _delete_old(self) -> int:
        deleted, after = 0, (0.0, "")
        while self._limits.seconds:
            async with self._database.reading() as session:
                old = await uploads.list_old(
                    session,
                    created_before=self._deletion_clock.read() - self._limits.seconds,
                    after=after,
                    limit=SWEEP_ROWS,
                )
            for upload in old:
                after = (upload.created_at, upload.key)
                try:
                    await self.delete(upload.user_id, upload.key)
                except (NotFound, UploadInUse):
                    continue
                except StorageError as error:
                    logger.warning("old uploads can't be deleted now: %s", error.code)
                    return deleted
                deleted += 1
            if len(old) < SWEEP_ROWS:
                break
        return deleted

    async def _find_stored(self, upload: Upload) -> bool:
        return upload.stored_at is not None or (
            await self._storage.find(upload.user_id, upload.key) is not None
        )

    def _expiry_of(self, upload: Upload) -> float | None:
        return upload.created_at + self._limits.seconds if self._limits.seconds else None


def _name_upload(key: str) -> str:
    """Return the id of an upload in the audit log: its folder, without the name that its user gave the file."""
    return uploads.folder_of(key) or "uploads"


async def _settle(session: AsyncSession, upload: Upload, stored: StoredObject | None) -> None:
    """Store what is in the storage of an upload that can't be sent any more."""
    if stored is None:
        await uploads.delete_row(session, upload.user_id, upload.key)
    else:
        await uploads.record_stored(session, upload, size=stored.size, at=stored.modified_at)


def _list_readers(active: Sequence[Job], key: str) -> list[str]:
    """Return the active exports whose config names the key."""
    text = msgspec.json.encode(key).decode()
    return [job.job_id for job in active if text in job.config]
