"""Compare the rows of the database with the files in the storage, and mend what differs.

Rows are read first, and files after them: what is created in between is young, and what is deleted needs no mending.
So the check may run while a service works.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import unquote

from sqlalchemy import select, update

from infra.database.base import Database
from infra.storage.inventory import Inventory, ListedObject
from infra.storage.object_names import user_folder
from service.jobs import uploads
from service.jobs.erasures import ERASURES
from service.jobs.models import ACTIVE, EXPIRED, JOBS, Status
from service.jobs.uploads import UPLOADS, Upload

YOUNG_SECONDS: Final = 2 * 3_600.0
"""What is younger may belong to a row that is not written yet, or to an erasure whose sweeps are not over."""
_ATTEMPT: Final = re.compile(r"\.attempts/(.+)-\d+/.+")
_OUTPUT: Final = re.compile(r"exports/[0-9a-f-]{36}(\.[a-z0-9]+)*")

Place = tuple[str, str]
"""The folder of a user and the key of an object."""


@dataclass(frozen=True)
class Mismatch:
    """What differs between rows and files, what mends it, and the words for that; None if nothing can."""

    sentence: str
    remedy: str = ""
    mend: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class _Rows:
    """What the database knows of files."""

    outputs: dict[Place, tuple[str, int | None]]
    """The export and the size of each output that should be there."""
    written: frozenset[Place]
    """Outputs that may be there: those of exports that have not ended, and that are being deleted."""
    active: frozenset[str]
    uploads: dict[Place, Upload]
    erased: frozenset[Place]
    """Folders of uploads that are being deleted, by their user."""
    users: dict[str, str]


class FileCheck:
    """Finds and mends differences between rows and files."""

    def __init__(self, database: Database, inventory: Inventory, clock: Callable[[], float]) -> None:
        self._database = database
        self._inventory = inventory
        self._clock = clock

    async def compare(self) -> list[Mismatch]:
        """Return what differs; raises what database and storage raise."""
        rows = await self._read_rows()
        objects = {(item.folder, item.key): item for item in await self._inventory.list_objects()}
        return [
            *self._check_outputs(rows, objects),
            *self._check_uploads(rows, objects),
            *(
                mismatch
                for item in objects.values()
                if item.modified_at < self._clock() - YOUNG_SECONDS
                and (mismatch := self._check_object(rows, item)) is not None
            ),
        ]

    def _check_outputs(self, rows: _Rows, objects: dict[Place, ListedObject]) -> Iterator[Mismatch]:
        for place, (job_id, size) in rows.outputs.items():
            if place not in objects:
                mend = partial(self._let_expire, job_id)
                yield Mismatch(f"the file of export {job_id} is missing", "lets the export expire", mend)
            elif size is not None and objects[place].size != size:
                yield Mismatch(
                    f"the file of export {job_id} has {objects[place].size} bytes instead of {size}"
                )

    def _check_uploads(self, rows: _Rows, objects: dict[Place, ListedObject]) -> Iterator[Mismatch]:
        for place, upload in rows.uploads.items():
            if upload.stored_at is not None and place not in objects:
                mend = partial(self._delete_row, upload)
                yield Mismatch(f"the file of upload {upload.key} is missing", "deletes its row", mend)

    def _check_object(self, rows: _Rows, item: ListedObject) -> Mismatch | None:
        """Return what is wrong with an object; None for one that belongs to a row, or to another program."""
        place = (item.folder, item.key)
        if place in rows.outputs or place in rows.written or place in rows.uploads:
            return None
        name = f"{item.folder}/{item.key} ({item.size} bytes)"
        delete = partial(self._inventory.delete, item)
        if (attempt := _ATTEMPT.fullmatch(item.key)) is not None:
            is_over = attempt[1] not in rows.active
            return Mismatch(f"{name} was left by an attempt", "deletes it", delete) if is_over else None
        if (folder := uploads.folder_of(item.key)) is not None:
            if (item.folder, folder) in rows.erased:
                return None
            mend = partial(self._insert_row, rows.users.get(item.folder), item)
            return Mismatch(f"{name} is an upload without a row", "adds the row", mend)
        if _OUTPUT.fullmatch(item.key):
            return Mismatch(f"{name} is an output without an export", "deletes it", delete)
        return None

    async def _read_rows(self) -> _Rows:
        output = (JOBS.c.output_key, JOBS.c.output_size, JOBS.c.status, JOBS.c.expires_at)
        async with self._database.reading() as session:
            exports = select(JOBS.c.user_id, JOBS.c.job_id, *output).where(JOBS.c.expiry_step < EXPIRED)
            jobs = list(await session.execute(exports))
            uploaded = [Upload(**row) for row in (await session.execute(select(UPLOADS))).mappings()]
            erasures = list(
                await session.execute(select(ERASURES.c.user_id, ERASURES.c.job_id, ERASURES.c.output_key))
            )
        user_ids = {job.user_id for job in jobs} | {upload.user_id for upload in uploaded}
        now = self._clock()
        outputs, written = {}, {(user_folder(user), key) for user, _, key in erasures if key}
        for job in jobs:
            place = (user_folder(job.user_id), job.output_key)
            if _needs_file(job.status, job.expires_at, now):
                outputs[place] = (job.job_id, job.output_size)
            else:
                written.add(place)
        return _Rows(
            outputs=outputs,
            written=frozenset(written),
            active=frozenset(job.job_id for job in jobs if job.status in ACTIVE),
            uploads={(user_folder(upload.user_id), upload.key): upload for upload in uploaded},
            erased=frozenset((user_folder(user), name) for user, name, _ in erasures),
            users={user_folder(user_id): user_id for user_id in user_ids},
        )

    async def _let_expire(self, job_id: str) -> None:
        """Let the export expire now: a service then says so to all who have to know, and frees its room."""
        is_stored = (JOBS.c.job_id == job_id, JOBS.c.status == Status.COMPLETE, JOBS.c.expiry_step < EXPIRED)
        async with self._database.transaction() as session:
            await session.execute(update(JOBS).where(*is_stored).values(expires_at=self._clock()))

    async def _delete_row(self, upload: Upload) -> None:
        async with self._database.transaction() as session:
            await uploads.delete_row(session, upload.user_id, upload.key)

    async def _insert_row(self, user_id: str | None, item: ListedObject) -> None:
        """Add the row of an upload, so that its user sees it, and it counts and ages as others do.

        A user who has nothing else is named by the folder, unless that is a hash.
        """
        if user_id is None:
            if item.folder.startswith("~"):
                return
            user_id = unquote(item.folder)
        at = item.modified_at
        upload = Upload(
            user_id=user_id, key=item.key, size=item.size, created_at=at, expires_at=at, stored_at=at
        )
        async with self._database.transaction() as session:
            await uploads.insert_upload(session, upload)


def _needs_file(status: str, expires_at: float | None, now: float) -> bool:
    """Tell whether the output of an export must be there; a service deletes one whose time is over."""
    return status == Status.COMPLETE and (expires_at is None or expires_at > now)
