"""Record what came back from a listener's receiver; it counts as the attempt of the delivery.

These functions take a session and never commit.
"""

import random
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import CHANGE_LOG
from service.webhooks import deliveries, delivery_log
from service.webhooks.deliveries import FinishedAttempt
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.retry_policy import AttemptResult, result_from_log

OUTCOME_PREFIX: Final = "outcome "
"""Begins the announcement of an outcome to the other replicas, one of which waits for it."""


async def record_outcome(
    session: AsyncSession, delivery: Delivery, attempt: int, result: AttemptResult, *, now: float
) -> list[Endpoint]:
    """Store the result of an attempt; return the endpoints that are disabled because of it.

    No-op if the attempt has a result already, but for a success that comes after its time-out. `delivery` was read
    before, in the same transaction: if another request records an outcome of the attempt in between, its result is
    seen here, or both store the same values.
    """
    row = await delivery_log.load_attempt(session, delivery.delivery_id, attempt)
    known = None if row is None else result_from_log(row)
    is_late_success = result.is_delivered and known is not None and known.status is None
    if row is None or not (known is None or is_late_success):
        return []
    of_attempt = msgspec.structs.replace(delivery, attempts=attempt)
    finished = [FinishedAttempt(of_attempt, result)]
    announcement = f"{OUTCOME_PREFIX}{delivery.delivery_id} {attempt}"
    session.info.setdefault(CHANGE_LOG, []).append((announcement, delivery.user_id))
    return await deliveries.record_results(session, finished, random=random.random, now=now)


def parse_announcement(text: str) -> tuple[str, int]:
    """Return the delivery id and the attempt of an announcement."""
    delivery_id, attempt = text.removeprefix(OUTCOME_PREFIX).split(" ")
    return delivery_id, int(attempt)
