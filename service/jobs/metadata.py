"""The metadata that clients give exports: how it is stored, compared and indexed."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import delete, insert, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel

from service.jobs.models import Job

MetadataValue = str | bool | int | float
Metadata = Mapping[str, MetadataValue]


DIGEST_BYTES = 16
_BARE = re.compile(r"true|false|-?[0-9][0-9.e+-]*")
"""The text of a boolean or a number, which JSON writes without quotation marks."""


class JobMetadata(SQLModel, table=True):
    """An entry of the metadata of a job, as the index that a list by metadata reads in the order of job ids.

    `entry` is a digest: a value may be longer than PostgreSQL takes in a row of an index.
    """

    __tablename__ = "job_metadata"
    __table_args__ = {"sqlite_with_rowid": False}

    user_id: str = Field(primary_key=True)
    entry: str = Field(primary_key=True)
    job_id: str = Field(primary_key=True)


ENTRIES = JobMetadata.__table__  # type: ignore[attr-defined]


def encode_metadata(metadata: Metadata | None) -> str | None:
    """Return the column of a job; None for a job without metadata."""
    return msgspec.json.encode(metadata).decode() if metadata else None


def decode_metadata(column: str | None) -> dict[str, MetadataValue]:
    """Return the metadata in the column of a job."""
    return msgspec.json.decode(column, type=dict[str, MetadataValue]) if column else {}


def to_text(value: MetadataValue) -> str:
    """Return the text by which a value is compared: of a number or a boolean its JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def list_fragments(key: str, text: str) -> Iterator[str]:
    """Yield what the column of a job contains if and only if the value of `key` has this text.

    In JSON a quotation mark within a string has a backslash before it, so no part of another key or value is equal.
    """
    yield f'"{key}":{msgspec.json.encode(text).decode()}'
    if _BARE.fullmatch(text):
        yield from (f'"{key}":{text},', f'"{key}":{text}}}')


def digest_entry(key: str, text: str) -> str:
    """Return the `entry` of a key and the text of its value."""
    return hashlib.blake2b(f"{key}={text}".encode(), digest_size=DIGEST_BYTES).hexdigest()


async def insert_entries(session: AsyncSession, jobs: Sequence[Job]) -> None:
    """Index the metadata of jobs."""
    if rows := [row for job in jobs for row in _to_rows(job.user_id, job.job_id, job.metadata)]:
        await session.execute(insert(ENTRIES), rows)


async def delete_entries(session: AsyncSession, jobs: Sequence[Job]) -> None:
    """Remove the metadata of jobs from the index."""
    if rows := [row for job in jobs for row in _to_rows(job.user_id, job.job_id, job.metadata)]:
        key = tuple_(*ENTRIES.primary_key.columns)
        await session.execute(delete(ENTRIES).where(key.in_([tuple(row.values()) for row in rows])))


def _to_rows(user_id: str, job_id: str, column: str | None) -> Sequence[dict[str, str]]:
    entries = {digest_entry(key, to_text(value)) for key, value in decode_metadata(column).items()}
    return [{"user_id": user_id, "entry": entry, "job_id": job_id} for entry in sorted(entries)]
