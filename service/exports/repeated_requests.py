"""Find the export of a request that was made before, by its idempotency key or by the id that the client chose."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.exports.models import ExportRequest, Idempotency
from service.jobs import queries
from service.jobs.idempotency import IdempotencyKey
from service.jobs.models import Job
from service.problems import ExportIdTaken, Invalid


async def find_earlier(
    session: AsyncSession, user_id: str, request: ExportRequest, idempotency: Idempotency | None
) -> Job | None:
    """Return the job that was submitted with this key, or else with this chosen id.

    Raises Invalid or ExportIdTaken if its request had another body.
    """
    job = await _find_by_key(session, user_id, idempotency) if idempotency is not None else None
    if job is not None or request.export_id is None:
        return job
    job = await queries.find_by_export_id(session, user_id, request.export_id)
    if job is not None and job.body_hash != request.body_hash:
        raise ExportIdTaken(request.export_id)
    return job


async def _find_by_key(session: AsyncSession, user_id: str, idempotency: Idempotency) -> Job | None:
    job_id = await find_key(session, user_id, idempotency)
    return None if job_id is None else await queries.get(session, user_id, job_id)


async def find_key(session: AsyncSession, user_id: str, idempotency: Idempotency) -> str | None:
    """Return the id of the export or the batch that was submitted with this key.

    Raises Invalid if its request had another body.
    """
    row = await session.get(IdempotencyKey, (user_id, idempotency.key))
    if row is None:
        return None
    if row.body_hash != idempotency.body_hash:
        raise Invalid(
            "This Idempotency-Key was already used with a different request body; use a new key for a new export."
        )
    return str(row.job_id)


def remember_key(
    session: AsyncSession, user_id: str, idempotency: Idempotency, submitted_id: str, now: float
) -> None:
    """Store with which key an export or a batch was submitted."""
    session.add(
        IdempotencyKey(
            user_id=user_id,
            key=idempotency.key,
            body_hash=idempotency.body_hash,
            job_id=submitted_id,
            created_at=now,
        )
    )
