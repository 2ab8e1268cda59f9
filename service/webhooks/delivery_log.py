"""The log of attempts: one row per request.

A row is inserted before the request is sent and completed with its result. These functions take a session and never
commit.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import and_, bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.webhooks.models import ATTEMPTS, Delivery
from service.webhooks.retry_policy import AttemptResult

INTERRUPTED: Final = "The service stopped before the result of this attempt was known."
# A listener may report the outcome just before its time-out is stored; only a success may then replace the result.
_COMPLETE: Final = text("""
UPDATE webhook_attempts SET seconds = :seconds, status = :status, error_code = :error_code,
    error_message = :error_message, excerpt = :excerpt
WHERE delivery_id = :delivery_id AND attempt = :attempt AND (seconds IS NULL OR :is_delivered)
""")
_IS_OPEN = and_(
    ATTEMPTS.c.delivery_id.in_(bindparam("ids", expanding=True)),
    ATTEMPTS.c.seconds.is_(None),
    ATTEMPTS.c.error_code.is_(None),
)
_MARK_INTERRUPTED: Final = (
    update(ATTEMPTS).where(_IS_OPEN).values(error_code="interrupted", error_message=INTERRUPTED)
)
_INSERT_STARTED: Final = text("""
INSERT INTO webhook_attempts (delivery_id, attempt, endpoint_id, at) VALUES (:delivery_id, :attempt, :endpoint_id, :at)
""")

AttemptRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""The rows of the log by delivery id, oldest first."""


async def insert_started(session: AsyncSession, deliveries: Sequence[Delivery], *, now: float) -> None:
    """Log an attempt for each delivery; earlier ones that are still open were interrupted."""
    await mark_interrupted(
        session, [delivery.delivery_id for delivery in deliveries if delivery.attempts > 1]
    )
    rows = [
        {
            "delivery_id": delivery.delivery_id,
            "attempt": delivery.attempts,
            "endpoint_id": delivery.endpoint_id,
            "at": now,
        }
        for delivery in deliveries
    ]
    await session.execute(_INSERT_STARTED, rows)


async def complete(session: AsyncSession, results: Sequence[tuple[Delivery, AttemptResult]]) -> None:
    """Store the result of each delivery's latest attempt, unless it has one."""
    await session.execute(_COMPLETE, [_result_values(delivery, result) for delivery, result in results])


async def mark_interrupted(session: AsyncSession, delivery_ids: Sequence[str]) -> None:
    """Mark the open attempts at these deliveries as interrupted.

    A result that arrives later replaces the mark.
    """
    if not delivery_ids:
        return
    await session.execute(_MARK_INTERRUPTED, {"ids": delivery_ids})


async def load_attempts(session: AsyncSession, deliveries: Sequence[Delivery]) -> AttemptRows:
    """Return the attempts at each of the deliveries."""
    ids = [delivery.delivery_id for delivery in deliveries]
    query = select(ATTEMPTS).where(ATTEMPTS.c.delivery_id.in_(ids)).order_by(ATTEMPTS.c.attempt)
    attempts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in (await session.execute(query)).mappings():
        attempts[row["delivery_id"]].append(dict(row))
    return attempts


async def load_attempt(session: AsyncSession, delivery_id: str, attempt: int) -> Mapping[str, Any] | None:
    """Return one row of the log."""
    query = select(ATTEMPTS).where(ATTEMPTS.c.delivery_id == delivery_id, ATTEMPTS.c.attempt == attempt)
    row = (await session.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)


def _result_values(delivery: Delivery, result: AttemptResult) -> dict[str, object]:
    return {
        "delivery_id": delivery.delivery_id,
        "attempt": delivery.attempts,
        "seconds": result.seconds,
        "status": result.status,
        "error_code": result.error_code,
        "error_message": result.error_message,
        "excerpt": result.excerpt,
        "is_delivered": result.is_delivered,
    }
