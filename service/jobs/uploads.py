"""Uploads of users: what was announced and what is stored, newest first.

A row is inserted before the client gets a URL, so the rows of a user say how much room the sources take at most. A
bucket does not say when it has received a file: `stored_at` is set by those who look. These functions take a session
and never commit.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Index,
    Table,
    TextClause,
    delete,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from service.forecast.work import SourceFacts
from service.jobs.columns import BigInt, LongText, PrimaryKey, table_columns
from service.jobs.models import EXPIRED, JOBS, Status

_KEY = re.compile(r"(uploads/[0-9a-f]{32})/[^/]+")
_IS_ANNOUNCED = text("stored_at IS NULL")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `uploads`: the size in bytes, times in seconds since the epoch.

    The file can be sent until `expires_at`. `stored_at` is None until it was seen in the storage, and `facts`, the
    JSON of its `SourceFacts`, until it was probed.
    """

    user_id: PrimaryKey
    key: PrimaryKey
    size: BigInt
    created_at: float
    expires_at: float
    stored_at: float | None = None
    facts: LongText | None = None


UPLOADS: Final = Table(
    "uploads",
    SQLModel.metadata,
    *table_columns(Upload),
    Index("ix_uploads_created_at", "created_at"),
    Index("ix_uploads_announced", "expires_at", sqlite_where=_IS_ANNOUNCED, postgresql_where=_IS_ANNOUNCED),
)


def folder_of(key: str) -> str | None:
    """Return the folder that an upload has alone, without the name of the file; None if the key has none."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


async def insert_upload(session: AsyncSession, upload: Upload) -> None:
    """Store that a file may come."""
    await session.execute(insert(UPLOADS).values(msgspec.structs.asdict(upload)))


async def list_page(session: AsyncSession, user_id: str, *, before: str | None, limit: int) -> list[Upload]:
    """Return a page of the user's uploads, newest first; `before` is the last key of the previous page."""
    where = [UPLOADS.c.user_id == user_id] + ([UPLOADS.c.key < before] if before else [])
    return await _list(session, *where, order=UPLOADS.c.key.desc(), limit=limit)


async def list_open_keys(session: AsyncSession, user_id: str, *, now: float) -> list[str]:
    """Return the keys of a user to which a file can still be sent."""
    query = select(UPLOADS.c.key).where(UPLOADS.c.user_id == user_id, UPLOADS.c.expires_at > now)
    return list((await session.execute(query)).scalars())


async def list_overdue(session: AsyncSession, *, limit: int, now: float) -> list[Upload]:
    """Return uploads that can't be sent any more and were not seen in the storage yet."""
    return await _list(
        session, _IS_ANNOUNCED, UPLOADS.c.expires_at < now, order=UPLOADS.c.expires_at, limit=limit
    )


async def list_old(
    session: AsyncSession, *, created_before: float, after: tuple[float, str], limit: int
) -> list[Upload]:
    """Return old uploads of all users, oldest first; `after` is time and key of the last one seen."""
    place = tuple_(UPLOADS.c.created_at, UPLOADS.c.key)
    query = select(UPLOADS).where(UPLOADS.c.created_at < created_before, place > tuple_(*after))
    rows = await session.execute(query.order_by(UPLOADS.c.created_at, UPLOADS.c.key).limit(limit))
    return [msgspec.convert(dict(row), Upload) for row in rows.mappings()]


async def record_stored(session: AsyncSession, upload: Upload, *, size: int, at: float) -> None:
    """Store that the file is in the storage."""
    values = {"size": size, "stored_at": at}
    await session.execute(update(UPLOADS).where(*_is_same(upload.user_id, upload.key)).values(values))


async def find_facts(session: AsyncSession, user_id: str, keys: Sequence[str]) -> dict[str, SourceFacts]:
    """Return what is known of those of the user's uploads that were probed, by key."""
    of_user = (UPLOADS.c.user_id == user_id, UPLOADS.c.key.in_(keys), UPLOADS.c.facts.is_not(None))
    rows = await session.execute(select(UPLOADS.c.key, UPLOADS.c.facts).where(*of_user))
    return {key: msgspec.json.decode(facts, type=SourceFacts) for key, facts in rows}


async def record_facts(session: AsyncSession, user_id: str, key: str, facts: SourceFacts) -> None:
    """Store what a probe found; no-op for a file that is no upload."""
    values = {"facts": msgspec.json.encode(facts).decode()}
    await session.execute(update(UPLOADS).where(*_is_same(user_id, key)).values(values))


async def delete_row(session: AsyncSession, user_id: str, key: str) -> bool:
    """Delete the row of an upload; return whether there was one."""
    statement = delete(UPLOADS).where(*_is_same(user_id, key)).returning(UPLOADS.c.key)
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def sum_bytes(session: AsyncSession, user_id: str) -> int:
    """Return how many bytes the sources and outputs of a user take, with what was announced."""
    sources = select(func.sum(UPLOADS.c.size)).where(UPLOADS.c.user_id == user_id)
    is_stored = (
        JOBS.c.user_id == user_id,
        JOBS.c.status == Status.COMPLETE,
        JOBS.c.expiry_step < EXPIRED,
    )
    outputs = select(func.sum(JOBS.c.output_size)).where(*is_stored)
    return int(await session.scalar(sources) or 0) + int(await session.scalar(outputs) or 0)


async def _list(
    session: AsyncSession, *where: ColumnElement[bool] | TextClause, order: ColumnElement[object], limit: int
) -> list[Upload]:
    rows = await session.execute(select(UPLOADS).where(*where).order_by(order).limit(limit))
    return [msgspec.convert(dict(row), Upload) for row in rows.mappings()]


def _is_same(user_id: str, key: str) -> Sequence[ColumnElement[bool]]:
    return UPLOADS.c.user_id == user_id, UPLOADS.c.key == key
