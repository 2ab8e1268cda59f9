"""Read batches with their totals."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Row, dialect_of
from service.jobs.batches.completion import CompletedBatch
from service.jobs.batches.models import BATCHES, CLOSED, ExportBatch
from service.jobs.batches.totals import Batch, Fetch, batch_to_dict, read_totals, to_batch

MAX_COMPLETED = 1_000


def fetch_in(session: AsyncSession) -> Fetch:
    """Return what runs statements with `:names` in a session."""

    async def fetch(statement: str, values: Mapping[str, object]) -> Sequence[Row]:
        return (await session.execute(text(statement), values)).mappings().all()

    return fetch


async def get_batch(session: AsyncSession, user_id: str, batch_id: str) -> ExportBatch | None:
    """Return a batch of the user."""
    batches = await _list(session, BATCHES.c.user_id == user_id, BATCHES.c.batch_id == batch_id, limit=1)
    return batches[0] if batches else None


async def list_batches(
    session: AsyncSession, user_id: str, *, before: str | None, limit: int
) -> list[ExportBatch]:
    """Return a page of the user's batches, newest first; `before` is the last id of the previous page."""
    older = [BATCHES.c.batch_id < before] if before else []
    return await _list(session, BATCHES.c.user_id == user_id, *older, limit=limit)


async def list_completed(
    session: AsyncSession, *where: ColumnElement[bool], limit: int = MAX_COMPLETED
) -> list[CompletedBatch]:
    """Return the batches that meet every condition and whose exports have all ended, as clients see them."""
    batches = await _list(session, BATCHES.c.completed_at > CLOSED, *where, limit=limit)
    return [
        CompletedBatch(batch, data)
        for batch, data in zip(batches, await add_totals(session, batches), strict=True)
    ]


async def add_totals(session: AsyncSession, batches: Sequence[ExportBatch]) -> list[Batch]:
    """Return batches as clients see them."""
    ids = [batch.batch_id for batch in batches]
    totals = await read_totals(fetch_in(session), dialect_of(session), ids) if ids else {}
    return [batch_to_dict(batch, totals.get(batch.batch_id, {})) for batch in batches]


async def _list(session: AsyncSession, *where: ColumnElement[bool], limit: int) -> list[ExportBatch]:
    query = select(BATCHES).where(*where).order_by(BATCHES.c.batch_id.desc()).limit(limit)
    return [to_batch(row) for row in (await session.execute(query)).mappings()]
