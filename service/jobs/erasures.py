"""Erased exports: what is left of them while their files are deleted, and then as a stub.

The transaction that erases an export deletes its rows and inserts an `Erasure`, which names what is left to delete in
storage. So a service that is killed goes on with it, and no callback or replica finds the export any more. These
functions take a session and never commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

import msgspec
from sqlalchemy import ColumnElement, Index, Table, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from infra.database.base import CHANGE_LOG
from service.jobs import transition_sql as sql
from service.jobs.batches.completion import note_purged
from service.jobs.columns import IntFromZero, PrimaryKey, table_columns
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.metadata import delete_entries
from service.jobs.models import EVENTS, Job, Status
from service.jobs.serializers import format_timestamp
from service.jobs.transitions import to_job

STUB_SECONDS: Final = 30 * 86_400.0
"""For this long an erased export is answered with 410."""
FIRST_SWEEP_SECONDS: Final = 10.0
"""How long the request that erases may take to delete the files; then the loop does it."""

_PURGE = text(sql.PURGE)
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


class ErasedData(TypedDict):
    """Which export was erased, and when."""

    job_id: str
    erased_at: str


def to_erased_data(erasure: Erasure) -> ErasedData:
    """Return the `data` of `export.erased`."""
    return {"job_id": erasure.job_id, "erased_at": format_timestamp(erasure.erased_at)}


async def purge(session: AsyncSession, user_id: str, job_id: str) -> Job | None:
    """Delete a job in any state with its timeline and keys; return the row as it was, None if there is none."""
    values = {"job_id": job_id, "user_id": user_id}
    row = (await session.execute(_PURGE, values)).mappings().one_or_none()
    if row is None:
        return None
    await session.execute(delete(EVENTS).where(EVENTS.c.job_id == job_id))
    is_key = (IDEMPOTENCY_KEYS.c.user_id == user_id, IDEMPOTENCY_KEYS.c.job_id == job_id)
    await session.execute(delete(IDEMPOTENCY_KEYS).where(*is_key))
    job = to_job(row)
    await delete_entries(session, user_id, job_id, job.metadata)
    note_purged(session, job)
    session.info.setdefault(CHANGE_LOG, []).append((job_id, user_id))
    return job


async def record(session: AsyncSession, job: Job, *, owns_output_key: bool, now: float) -> Erasure:
    """Store that the files of a purged job must be deleted."""
    erasure = Erasure(
        job_id=job.job_id,
        user_id=job.user_id,
        export_id=job.export_id,
        sequence=job.sequence + 1,
        attempts=job.attempt,
        call_id=None if job.status.is_final else job.call_id,
        output_key=job.output_key if owns_output_key else None,
        is_moving=job.finalizer is not None,
        erased_at=now,
        next_at=now + FIRST_SWEEP_SECONDS,
    )
    await session.execute(insert(ERASURES).values(msgspec.structs.asdict(erasure)))
    return erasure


async def record_object(session: AsyncSession, user_id: str, object_id: str, *, now: float) -> Erasure:
    """Store that an upload must be deleted, with what is sent to its folder later, or that a batch was erased."""
    erasure = Erasure(
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
    await session.execute(
        delete(ERASURES).where(ERASURES.c.job_id == object_id, ERASURES.c.user_id == user_id)
    )
    await session.execute(insert(ERASURES).values(msgspec.structs.asdict(erasure)))
    return erasure


async def record_output(session: AsyncSession, job: Job, *, now: float) -> Erasure:
    """Store that the file of an export must be deleted, while the export stays."""
    erasure = Erasure(
        job_id=f"expired/{job.job_id}",
        user_id=job.user_id,
        export_id=None,
        sequence=job.sequence,
        attempts=0,
        call_id=None,
        output_key=job.output_key,
        is_moving=False,
        erased_at=now,
        next_at=now + FIRST_SWEEP_SECONDS,
    )
    await session.execute(insert(ERASURES).values(msgspec.structs.asdict(erasure)))
    return erasure


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
            return _to_erasure(row)
    return None


async def find_ids(session: AsyncSession, user_id: str, ids: Sequence[str], *, now: float) -> set[str]:
    """Return those of the ids of a user's exports, uploads and batches that were erased lately."""
    is_young = (ERASURES.c.user_id == user_id, ERASURES.c.erased_at > now - STUB_SECONDS)
    query = select(ERASURES.c.job_id).where(ERASURES.c.job_id.in_(ids), *is_young)
    return set((await session.execute(query)).scalars()) if ids else set()


async def list_by_ids(session: AsyncSession, job_ids: Sequence[str]) -> list[Erasure]:
    """Return the erasures of these exports, of any user."""
    rows = await session.execute(select(ERASURES).where(ERASURES.c.job_id.in_(job_ids)))
    return [_to_erasure(row) for row in rows.mappings()]


async def lease_due(session: AsyncSession, *, limit: int, lease_seconds: float, now: float) -> list[Erasure]:
    """Return erasures whose files have to be deleted now, and keep them from other replicas for a while."""
    due = select(ERASURES.c.job_id).where(_IS_DUE, ERASURES.c.next_at <= now)
    ids = due.order_by(ERASURES.c.next_at).limit(limit).with_for_update(skip_locked=True)
    leased = update(ERASURES).where(ERASURES.c.job_id.in_(ids)).values(next_at=now + lease_seconds)
    rows = await session.execute(leased.returning(ERASURES))
    return [_to_erasure(row) for row in rows.mappings()]


async def record_sweep(session: AsyncSession, erasure: Erasure, *, next_at: float | None) -> None:
    """Store that a sweep has deleted all files that were there, and when the next one is due."""
    has_more = erasure.is_moving and erasure.sweeps == 0
    values = {
        "sweeps": erasure.sweeps + 1,
        "next_at": next_at,
        "call_id": None,
        "output_key": erasure.output_key if has_more else None,
    }
    await session.execute(update(ERASURES).where(*_is_same(erasure)).values(values))


async def postpone(session: AsyncSession, erasure: Erasure, *, next_at: float) -> None:
    """Try a sweep that failed again at this time."""
    await session.execute(update(ERASURES).where(*_is_same(erasure)).values(next_at=next_at))


def _is_same(erasure: Erasure) -> tuple[ColumnElement[bool], ...]:
    """Match the row unless another replica has done this sweep."""
    return ERASURES.c.job_id == erasure.job_id, ERASURES.c.sweeps == erasure.sweeps


def _to_erasure(row: Mapping[Any, Any]) -> Erasure:
    """Convert a row of either database; SQLite stores booleans as numbers."""
    return msgspec.convert({**row, "is_moving": bool(row["is_moving"])}, Erasure)
