"""How an endpoint does: the results and latencies of its latest attempts, and what waits for it.

Each query reads a bounded number of rows through an index, however many deliveries the endpoint has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.webhooks.models import ATTEMPTS, DELIVERIES, DeliveryState
from service.webhooks.retry_policy import NOT_SENT

WINDOW_SECONDS: Final = 24 * 3_600.0
MAX_ATTEMPTS: Final = 1_000
MAX_BACKLOG: Final = 10_000


@dataclass(frozen=True)
class EndpointStatistics:
    """Figures of the latest `attempts` since `since`, and of all deliveries that wait.

    `latencies` are the seconds of the attempts that got a response, in ascending order. `oldest_at` is when the oldest
    of the waiting events occurred.
    """

    since: float
    attempts: int
    delivered: int
    latencies: Sequence[float]
    backlog: int
    oldest_at: float | None

    @property
    def success_rate(self) -> float | None:
        """The fraction of attempts that were delivered; None without attempts."""
        return self.delivered / self.attempts if self.attempts else None

    def latency_at(self, fraction: float) -> float | None:
        """Return the seconds within which this fraction of the responses came; None without responses."""
        if not self.latencies:
            return None
        return self.latencies[math.ceil(fraction * len(self.latencies)) - 1]


async def read_statistics(session: AsyncSession, endpoint_id: str, *, now: float) -> EndpointStatistics:
    """Read the figures of an endpoint."""
    since = now - WINDOW_SECONDS
    latest = (
        select(ATTEMPTS.c.seconds, ATTEMPTS.c.status, ATTEMPTS.c.error_code)
        .where(ATTEMPTS.c.endpoint_id == endpoint_id, ATTEMPTS.c.at >= since)
        .order_by(ATTEMPTS.c.at.desc())
        .limit(MAX_ATTEMPTS)
    )
    rows = [row for row in await session.execute(latest) if _has_result(row.seconds, row.error_code)]
    waiting = (
        select(DELIVERIES.c.created_at)
        .where(DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.state == DeliveryState.PENDING.value)
        .order_by(DELIVERIES.c.next_at)
        .limit(MAX_BACKLOG)
        .subquery()
    )
    backlog, oldest_at = (
        await session.execute(select(func.count(), func.min(waiting.c.created_at)).select_from(waiting))
    ).one()
    return EndpointStatistics(
        since=since,
        attempts=len(rows),
        delivered=sum(row.error_code is None for row in rows),
        latencies=sorted(row.seconds for row in rows if row.status is not None),
        backlog=backlog,
        oldest_at=oldest_at,
    )


def _has_result(seconds: float | None, error_code: str | None) -> bool:
    """Tell whether the attempt says something of the endpoint: it has ended, and was sent."""
    return seconds is not None and error_code not in NOT_SENT
