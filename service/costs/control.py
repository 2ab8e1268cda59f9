"""Hold exports to what they may cost: the limits of the settings, and what the database knows of costs."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import text

from callbacks.envelope import Failure
from infra.database.base import Database
from service.clock import Clock
from service.costs.budgets import DayAccount, DayLimits, RunningCost, find_day_limit, find_own_limit
from service.costs.days import day_of, end_of
from service.jobs.models import IS_ACTIVE
from service.problems import FieldError, Invalid, QuotaExceeded

REFRESH_SECONDS: Final = 1.0
"""How old what this replica knows of the spending of others has to be until it is read again."""

# One statement, so that an export which ends while it runs is in one of the halves.
_COSTS = text(f"""
SELECT '' AS job_id, user_id, sum(cost_usd) AS usd, 0.0 AS counted_usd FROM usage_days WHERE day = :day GROUP BY user_id
UNION ALL
SELECT job_id, user_id, cost_usd - counted_usd, counted_usd FROM export_jobs
WHERE {IS_ACTIVE} AND cost_usd > counted_usd
""")  # noqa: S608 - a constant


class BudgetExceeded(QuotaExceeded):
    """A day's budget is used up; `Retry-After` says when the next one begins."""

    title = "The budget for today is used up."
    code = "budget_exceeded"


class Cost(msgspec.Struct, frozen=True):
    """What a job has cost after a change, and may cost, in US dollars; `counted_usd` was counted by earlier ends."""

    usd: float | None
    max_usd: float | None
    counted_usd: float


class Budgets:
    """Knows which exports may run; safe to use on every replica."""

    def __init__(
        self,
        database: Database,
        limits: DayLimits | None = None,
        *,
        usd_per_second: float | None = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """`usd_per_second` is the price of a GPU second, None if it is unknown."""
        self._database = database
        self._limits = limits or DayLimits()
        self._clock = clock or Clock()
        self._account = DayAccount(self._limits)
        self._refreshed_at = float("-inf")
        self.usd_per_second = usd_per_second

    async def refresh(self) -> None:
        """Read again what all replicas have spent, if what is known here is too old."""
        started_at, day = self._clock.monotonic(), self.today
        if not self._limits.exist or started_at - self._refreshed_at < REFRESH_SECONDS:
            return
        ended: dict[str, float] = {}
        running: dict[str, RunningCost] = {}
        async with self._database.reading() as session:
            for job_id, user_id, usd, counted_usd in await session.execute(_COSTS, {"day": day}):
                if job_id:
                    running[job_id] = RunningCost(user_id, usd, counted_usd)
                else:
                    ended[user_id] = usd
        self._account.load(day, ended, running)
        self._refreshed_at = started_at

    def check_limit(self, max_usd: float | None) -> None:
        """Raise Invalid if the limit of an export can't be kept."""
        if max_usd is not None and self.usd_per_second is None:
            reason = "can't be kept: the service does not know the price of its GPU"
            raise Invalid(f"max_cost_usd {reason}.", errors=[FieldError(loc=["max_cost_usd"], msg=reason)])

    def check_new(self, user_id: str) -> None:
        """Raise BudgetExceeded if the user's exports may not run today."""
        reason = self.find_reached(user_id)
        if reason is not None:
            seconds = end_of(self.today) - self._clock.wall()
            raise BudgetExceeded(reason, headers={"Retry-After": str(max(1, int(seconds) + 1))})

    def check_callback(self, job_id: str, user_id: str, cost: Cost) -> Failure | None:
        """Take what a callback says of costs; return the failure of its export if that may not go on."""
        if cost.usd is None:
            return None
        own = find_own_limit(cost.usd, cost.max_usd)
        if not self._limits.exist:
            return own
        self._account.note(job_id, RunningCost(user_id, cost.usd - cost.counted_usd, cost.counted_usd))
        return own or find_day_limit(self.find_reached(user_id))

    def find_reached(self, user_id: str) -> str | None:
        """Return why exports of the user may not run today; None if they may."""
        return self._account.find_reached(user_id, day=self.today) if self._limits.exist else None

    def list_reached(self) -> Sequence[str] | None:
        """Return the users whose exports may not run today; None for all users."""
        return self._account.list_reached(day=self.today) if self._limits.exist else []

    @property
    def today(self) -> int:
        return day_of(self._clock.wall())
