"""The rate limit of an endpoint: when it may be sent its next delivery.

The moment is stored, and claims run one after the other on all replicas: the limit holds across replicas and restarts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

TOLERANCE_SECONDS: Final = 0.1
"""Rounds come late by some milliseconds. What an endpoint missed within this time is sent in addition."""
# Claims alone write these rows, after deliveries and log. In the row of the endpoint the same moment could deadlock
# with the record of a result, which locks endpoints first.
_SAVE: Final = text("""
INSERT INTO webhook_pacing (endpoint_id, next_at) VALUES (:endpoint_id, :next_at)
ON CONFLICT (endpoint_id) DO UPDATE SET next_at = excluded.next_at
""")


@dataclass(frozen=True)
class Pace:
    """At most `per_second` deliveries on average, and none before `next_at` (seconds since the epoch).

    The generic cell rate algorithm: in any time of T seconds at most (T + TOLERANCE_SECONDS) * per_second + 1 start.
    """

    per_second: float
    next_at: float = 0.0

    def count_allowed(self, now: float) -> int:
        """Return how many deliveries may start now."""
        start = self._start(now)
        # Rounded, since 0.1 s at 10 per second must be one interval, although times have 7 digits of a second at most.
        return 0 if start > now else 1 + math.floor(round((now - start) * self.per_second, 3))

    def advance(self, count: int, now: float) -> "Pace":
        """Return the pace after `count` deliveries have started."""
        return Pace(self.per_second, self._start(now) + count / self.per_second)

    def _start(self, now: float) -> float:
        """Return since when deliveries could have started, at most the tolerance ago.

        `next_at` is never further ahead than one interval, unless the clock was set back or the limit was raised: then
        the endpoint need not wait for it.
        """
        is_ahead = self.next_at > now + 1 / self.per_second + TOLERANCE_SECONDS
        return now if is_ahead else max(self.next_at, now - TOLERANCE_SECONDS)


async def save_paces(session: AsyncSession, paces: Mapping[str, Pace]) -> None:
    """Store the moments of these endpoints, by their ids."""
    if paces:
        rows = [{"endpoint_id": name, "next_at": pace.next_at} for name, pace in sorted(paces.items())]
        await session.execute(_SAVE, rows)
