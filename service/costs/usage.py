"""The totals of each day: how many exports have ended, and what they took and cost.

A row is the total of a user, project and type on a day (UTC), by the time at which exports end. It is written in the
transaction that ends an export, so the totals neither miss an end nor count one twice, and stay right when exports are
erased. What is running is not in them.

Erasing keeps the numbers and drops the names: the last export of a project takes the project's id with it, the erasure
of a user the user's id. Their totals then belong to no project or user, which is an empty id here.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import Index, Table, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel

from infra.database.base import BatchConnection, BeforeCommit
from service.costs.days import day_of
from service.jobs.models import Job, Status
from service.jobs.transitions import CHANGED_JOBS

_KEY: Final = ("day", "user_id", "project_id", "type")
_SUMS: Final = ("exports", "output_seconds", "gpu_seconds", "cost_usd", "unpriced_gpu_seconds")
_COLUMNS: Final = ", ".join((*_KEY, *_SUMS))
_ADD: Final = f"""
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
    {", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in _SUMS)}
"""
_INSERT: Final = f"""
INSERT INTO usage_days ({_COLUMNS}) VALUES ({", ".join(f":{name}" for name in (*_KEY, *_SUMS))}) {_ADD}
"""  # noqa: S608 - made of constants, as are all of these


def _rename(column: str, condition: str) -> Sequence[str]:
    """Return the statements that add the rows of a condition to those whose `column` is empty, and delete them."""
    renamed = ", ".join("''" if name == column else name for name in _KEY)
    kept = ", ".join(name for name in _KEY if name != column)
    sums = ", ".join(f"sum({name})" for name in _SUMS)
    return (
        f"""
        INSERT INTO usage_days ({_COLUMNS}) SELECT {renamed}, {sums} FROM usage_days
        WHERE {condition} GROUP BY {kept} {_ADD}
        """,  # noqa: S608
        f"DELETE FROM usage_days WHERE {condition}",  # noqa: S608
    )


_FORGET_PROJECT = _rename("project_id", "user_id = :user_id AND project_id = :project_id")
_DROP_PROJECTS = _rename("project_id", "user_id = :user_id AND project_id <> ''")
_FORGET_USER = _rename("user_id", "user_id = :user_id")
_HAS_PROJECT = text("SELECT 1 FROM export_jobs WHERE user_id = :user_id AND project_id = :project_id LIMIT 1")


class UsageDay(SQLModel, table=True):
    """What the exports of a user, project and type that ended on a day took; `day` counts from 1970.

    `cost_usd` is without the `unpriced_gpu_seconds`, the part of `gpu_seconds` whose price is unknown.
    """

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_user", "user_id", "day"),)

    day: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    user_id: str = Field(primary_key=True)
    project_id: str = Field(primary_key=True)
    type: str = Field(primary_key=True)
    exports: int
    output_seconds: float
    gpu_seconds: float
    cost_usd: float
    unpriced_gpu_seconds: float


USAGE_DAYS: Final[Table] = UsageDay.__table__  # type: ignore[attr-defined]


def write_before(hook: BeforeCommit) -> BeforeCommit:
    """Return a hook that adds the exports which the transaction has ended, and then does what `hook` does."""

    async def write(session: AsyncSession) -> None:
        rows = _to_rows(session.info.get(CHANGED_JOBS, ()))
        if rows:
            await session.execute(text(_INSERT), rows)
        await hook(session)

    return write


async def write_in_batch(connection: BatchConnection, jobs: Iterable[Job]) -> None:
    """Add the exports that a batch of callbacks has ended."""
    if rows := _to_rows(jobs):
        await connection.execute_many(_INSERT, rows)


async def record_purge(session: AsyncSession, jobs: Sequence[Job], *, now: float) -> None:
    """Add what exports took that were active when they were purged; drop the ids of projects that have no other."""
    if rows := _sum_by_key(_to_row(job, now) for job in jobs if not job.status.is_final):
        await session.execute(text(_INSERT), rows)
    for user_id, project_id in sorted({(job.user_id, job.project_id) for job in jobs if job.project_id}):
        project = {"user_id": user_id, "project_id": project_id}
        if (await session.execute(_HAS_PROJECT, project)).first() is None:
            for statement in _FORGET_PROJECT:
                await session.execute(text(statement), project)


async def forget_user(session: AsyncSession, user_id: str) -> None:
    """Take the id of a user and of its projects out of the totals."""
    for statement in (*_DROP_PROJECTS, *_FORGET_USER):
        await session.execute(text(statement), {"user_id": user_id})


def _to_rows(jobs: Iterable[Job]) -> list[dict[str, object]]:
    """Return what the jobs that have just ended add."""
    return _sum_by_key(_to_row(job, job.completed_at or 0.0) for job in jobs if job.has_just_ended)


def _sum_by_key(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """Return one row for each key, in the order of keys.

    The same order in every transaction, so that two of them never wait for each other's rows in a cycle.
    """
    return [_sum_rows(list(group)) for _, group in groupby(sorted(rows, key=_key_of), key=_key_of)]


def _to_row(job: Job, ended_at: float) -> dict[str, object]:
    """Return what an export adds: what it took since it ended before, if it did and was retried."""
    gpu_seconds, cost_usd = job.new_gpu_seconds, job.new_usd
    is_complete = job.status is Status.COMPLETE
    return {
        "day": day_of(ended_at),
        "user_id": job.user_id,
        "project_id": job.project_id or "",
        "type": job.type,
        "exports": int(job.counted_gpu_seconds is None),
        "output_seconds": (job.output_duration or 0.0) if is_complete else 0.0,
        "gpu_seconds": gpu_seconds,
        "cost_usd": cost_usd or 0.0,
        "unpriced_gpu_seconds": gpu_seconds if cost_usd is None else 0.0,
    }


def _key_of(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in _KEY)


def _sum_rows(rows: list[dict[str, object]]) -> dict[str, object]:
    return rows[0] | {name: sum(row[name] for row in rows) for name in _SUMS}  # type: ignore[misc]
