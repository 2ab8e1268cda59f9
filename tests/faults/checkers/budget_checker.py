"""Check that no run goes on once its export, or its user's day, has cost as much as it may."""

import time
from collections.abc import Callable, Sequence

from service.costs.budgets import BUDGET_EXCEEDED
from service.costs.days import day_of
from tests.faults.checkers.database_reader import DatabaseReader, Row

USD_PER_SECOND = 1.0
"""What a second of a run costs in a cluster."""
DAY_LIMIT_USD = 10.0
"""What the exports of a user may cost in a day."""
UNSEEN_SECONDS = 10.0
"""How long a replica may not know what others have spent: it reads that every second, and may be frozen for longer."""


class BudgetChecker:
    """Holds the answers to callbacks against what the database knew of costs before."""

    def __init__(self, database: DatabaseReader, now: Callable[[], float]) -> None:
        """Create the checker; `now`: the service's time of day."""
        self._database = database
        self._now = now
        self._reached_since: dict[str, tuple[int, float]] = {}  # by user: day, and monotonic time

    async def is_day_known_reached(self, user_id: str) -> bool:
        """Tell whether every replica must know that the user's budget for today is used up.

        Raises DatabaseUnavailable.
        """
        today = day_of(self._now())
        spent = await self._database.fetch_spent(user_id)
        if spent.get(today, 0.0) + spent.get(0, 0.0) < DAY_LIMIT_USD:
            self._reached_since.pop(user_id, None)
            return False
        day, since = self._reached_since.setdefault(user_id, (today, time.monotonic()))
        if day != today:
            self._reached_since[user_id] = (today, time.monotonic())
            return False
        return time.monotonic() > since + UNSEEN_SECONDS

    async def has_spent_day(self, user_id: str) -> bool:
        """Tell whether the user's exports may have used up the budget of a day. Raises DatabaseUnavailable.

        An export counts for the day on which it ends, and before for each day on which it is active: what is now
        counted for several days may have been known on one of them.
        """
        return sum((await self._database.fetch_spent(user_id)).values()) >= DAY_LIMIT_USD

    async def find_wrong_ends(self, user_id: str, rows: Sequence[Row]) -> list[str]:
        """Return exports that ended for a budget that was not used up. Raises DatabaseUnavailable."""
        ended = [row for row in rows if row.error_code == BUDGET_EXCEEDED and not row.has_reached_limit]
        if not ended or await self.has_spent_day(user_id):
            return []
        return [f"job {row.job_id[-6:]} ended for a budget that was not used up: {row}" for row in ended]
