"""Erased exports: what is left of them while their files are deleted, and then as a stub.

The transaction that erases an export deletes its rows and inserts an `Erasure`, which names what is left to delete in
storage. So a service that is killed goes on with it, and no callback or replica finds the export any more. These
functions take a session and never commit.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypedDict

import msgspec
from sqlalchemy import Index, Table, bindparam, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from infra.database.base import CHANGE_LOG
from service.clock import DAY_SECONDS
from service.jobs.batches.completion import note_purged
from service.jobs.columns import IntFromZero, PrimaryKey, table_columns
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.metadata import delete_entries
from service.jobs.models import EVENTS, JOBS, Job, Status
from service.jobs.serializers import format_timestamp
from service.jobs.transitions import to_job

STUB_SECONDS: Final = 30 * DAY_SECONDS
"""For this long an erased export is answered with 410."""
FIRST_SWEEP_SECONDS: Final = 10.0
"""How long the request that erases may take to delete the files; then the loop does it."""
_IS_DUE = text("next_at IS NOT NULL")
_HAS_EXPORT_ID = text("export_id IS NOT NULL")
_HAS_OUTPUT_KEY = text("output_key IS NOT NULL")


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erased export, or upload: a row of `erasures`, whose columns are these fields.

    `job_id` is the folder of an upload, `uploads/…`, `expired/…` of a file that expired, or the id of a batch.

    The files of its attempts 1 to `attempts` are deleted in several sweeps, at `next_at` until that is None. `call_id`
    is a call that may still run. `output_key` is the output's place as long as something may be there; no other export
    gets that key. If `is_moving`, a process may be moving the output there. `sequence` exceeds that of the export.
    """

    job_id: PrimaryKey
    user_id: str
    export_id: str | None
    sequence: int
    attempts: int
    call_id: str | None
    output_key: str | None
    is_moving: bool
    erased_at: float
    sweeps: IntFromZero = 0
    next_at: float | None

    @property
    def is_upload(self) -> bool:
        """Tell whether it is an upload that was erased."""
        return self.job_id.startswith("uploads/")


ERASURES: Final = Table(
    "erasures",
    SQLModel.metadata,
    *table_columns(Erasure),
    Index("ix_erasures_due", "next_at", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
    Index("ix_erasures_erased_at", "erased_at"),
    Index(
        "ix_erasures_export_id",
        "user_id",
        "export_id",
        sqlite_where=_HAS_EXPORT_ID,
        postgresql_where=_HAS_EXPORT_ID,
    ),
    Index(
        "ix_erasures_output",
        "user_id",
        "output_key",
        sqlite_where=_HAS_OUTPUT_KEY,
        postgresql_where=_HAS_OUTPUT_KEY,
    ),
)


_UPDATE_SAME: Final = update(ERASURES).where(
    ERASURES.c.job_id == bindparam("same_job_id"), ERASURES.c.sweeps == bindparam("same_sweeps")
)
"""Changes the row unless another replica has done this sweep."""


class ErasedData(TypedDict):
    """Which export was erased, and when."""

    job_id: str
    erased_at: str


def to_erased_data(erasure: Erasure) -> ErasedData:
    """Return the `data` of `export.erased`."""
    return {"job_id": erasure.job_id, "erased_at": format_timestamp(erasure.erased_at)}


async def purge(session: AsyncSession, user_id: str, job_ids: Sequence[str]) -> list[Job]:
    """Delete those jobs of a user that exist, in any state, with their timelines and keys; return them as they were.

    Rows are locked in the order of their ids, so that two transactions never wait for each other.
    """
    is_named = (JOBS.c.user_id == user_id, JOBS.c.job_id.in_(job_ids))
    locked = select(JOBS.c.job_id).where(*is_named).order_by(JOBS.c.job_id).with_for_update()
    ids = list((await session.execute(locked)).scalars())
    if not ids:
        return []
    rows = (await session.execute(delete(JOBS).where(JOBS.c.job_id.in_(ids)).returning(JOBS))).mappings()
    jobs = sorted(map(to_job, rows), key=lambda job: job.job_id)
    await session.execute(delete(EVENTS).where(EVENTS.c.job_id.in_(ids)))
    is_key = (IDEMPOTENCY_KEYS.c.user_id == user_id, IDEMPOTENCY_KEYS.c.job_id.in_(ids))
    await session.execute(delete(IDEMPOTENCY_KEYS).where(*is_key))
    await delete_entries(session, jobs)
    for job in jobs:
        note_purged(session, job)
        session.info.setdefault(CHANGE_LOG, []).append((job.job_id, user_id))
    return jobs


async def record(
    session: AsyncSession, jobs: Sequence[Job], *, owned_keys: Collection[str], now: float
) -> list[Erasure]:
    """Store that the files of purged jobs must be deleted; those at output keys only if they are among these."""
    erased = [_build_erasure(job, owned_keys, now) for job in jobs]
    if erased:
        await session.execute(insert(ERASURES), list(map(msgspec.structs.asdict, erased)))
    return erased


def _build_erasure(job: Job, owned_keys: Collection[str], now: float) -> Erasure:
    return msgspec.structs.replace(
        _build_file_erasure(job.job_id, job.user_id, now=now),
        export_id=job.export_id,
        sequence=job.sequence + 1,
        attempts=job.attempt,
        call_id=None if job.status.is_final else job.call_id,
        output_key=job.output_key if job.output_key in owned_keys else None,
        is_moving=job.finalizer is not None,
    )


async def record_object(session: AsyncSession, user_id: str, object_id: str, *, now: float) -> Erasure:
    """Store that an upload must be deleted, with what is sent to its folder later, or that a batch was erased."""
    erasure = _build_file_erasure(object_id, user_id, now=now)
    is_same = (ERASURES.c.job_id == object_id, ERASURES.c.user_id == user_id)
    await session.execute(delete(ERASURES).where(*is_same))
    await session.execute(insert(ERASURES).values(msgspec.structs.asdict(erasure)))
    return erasure


async def record_output(session: AsyncSession, job: Job, *, now: float) -> Erasure:
    """Store that the file of an export must be deleted, while the export stays."""
    erasure = _build_file_erasure(f"expired/{job.job_id}", job.user_id, now=now)
    erasure = msgspec.structs.replace(erasure, sequence=job.sequence, output_key=job.output_key)
    await session.execute(insert(ERASURES).values(msgspec.structs.asdict(erasure)))
    return erasure


def _build_file_erasure(object_id: str, user_id: str, *, now: float) -> Erasure:
    """Return an erasure of files that no run of an export writes."""
    return Erasure(
        job_id=object_id,
        user_id=user_id,
        export_id=None,
        sequence=0,
        attempts=0,
        call_id=None,
        output_key=None,
        is_moving=False,
        erased_at=now,
        next_at=now + FIRST_SWEEP_SECONDS,
    )


def has_output_key(job: Job, now: float) -> bool:
    """Tell whether no other export can have stored a file at the job's output key."""
    is_moving = job.lease_until is not None and job.lease_until > now
    has_file = job.status is Status.COMPLETE and not job.has_expired
    return not job.status.is_final or has_file or is_moving


async def find(session: AsyncSession, user_id: str, export_id: str, *, now: float) -> Erasure | None:
    """Return the stub of a user's erased export, by its own id or the one that the client chose."""
    is_young = (ERASURES.c.user_id == user_id, ERASURES.c.erased_at > now - STUB_SECONDS)
    for column in (ERASURES.c.job_id, ERASURES.c.export_id):
        query = select(ERASURES).where(column == export_id, *is_young).limit(1)
        row = (await session.execute(query)).mappings().one_or_none()
        if row is not None:
            return to_erasure(row)
    return None


async def find_ids(session: AsyncSession, user_id: str, ids: Sequence[str], *, now: float) -> set[str]:
    """Return those of the ids of a user's exports, uploads and batches that were erased lately."""
    is_young = (ERASURES.c.user_id == user_id, ERASURES.c.erased_at > now - STUB_SECONDS)
    query = select(ERASURES.c.job_id).where(ERASURES.c.job_id.in_(ids), *is_young)
    return set((await session.execute(query)).scalars()) if ids else set()


async def list_by_ids(session: AsyncSession, job_ids: Sequence[str]) -> list[Erasure]:
    """Return the erasures of these exports, of any user."""
    rows = await session.execute(select(ERASURES).where(ERASURES.c.job_id.in_(job_ids)))
    return [to_erasure(row) for row in rows.mappings()]


async def lease_due(session: AsyncSession, *, limit: int, lease_seconds: float, now: float) -> list[Erasure]:
    """Return erasures whose files have to be deleted now, and keep them from other replicas for a while."""
    due = select(ERASURES.c.job_id).where(_IS_DUE, ERASURES.c.next_at <= now)
    ids = due.order_by(ERASURES.c.next_at).limit(limit).with_for_update(skip_locked=True)
    leased = update(ERASURES).where(ERASURES.c.job_id.in_(ids)).values(next_at=now + lease_seconds)
    rows = await session.execute(leased.returning(ERASURES))
    return [to_erasure(row) for row in rows.mappings()]


async def record_sweeps(session: AsyncSession, swept: Mapping[Erasure, float | None]) -> None:
    """Store that sweeps have deleted all files that were there, and when the next ones are due."""
    rows = [
        {
            **_key_of(erasure),
            "sweeps": erasure.sweeps + 1,
            "next_at": next_at,
            "call_id": None,
            "output_key": erasure.output_key if erasure.is_moving and erasure.sweeps == 0 else None,
        }
        for erasure, next_at in swept.items()
    ]
    if rows:
        names = ("sweeps", "next_at", "call_id", "output_key")
        await session.execute(_UPDATE_SAME.values({name: bindparam(name) for name in names}), rows)


async def postpone(session: AsyncSession, failed: Collection[Erasure], *, next_at: float) -> None:
    """Try sweeps that failed again at this time."""
    if failed:
        await session.execute(_UPDATE_SAME.values(next_at=next_at), list(map(_key_of, failed)))


def _key_of(erasure: Erasure) -> dict[str, Any]:
    return {"same_job_id": erasure.job_id, "same_sweeps": erasure.sweeps}


def to_erasure(row: Mapping[Any, Any]) -> Erasure:
    """Convert a row of either database; SQLite stores booleans as numbers."""
    return msgspec.convert({**row, "is_moving": bool(row["is_moving"])}, Erasure)
