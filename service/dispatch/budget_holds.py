"""Keep exports from starting while a day's budget is used up."""

from infra.database.base import Database
from service.clock import Clock
from service.costs import holds
from service.costs.budgets import BUDGET_EXCEEDED, find_own_limit
from service.costs.control import Budgets
from service.costs.days import end_of
from service.dispatch.attempt_failures import AttemptFailure
from service.fanout.changes import JobChanges
from service.jobs.models import Job


class BudgetHolds:
    """Holds back waiting exports for the dispatcher; safe to use on every replica."""

    def __init__(self, database: Database, budgets: Budgets, changes: JobChanges, clock: Clock) -> None:
        self._database = database
        self._budgets = budgets
        self._changes = changes
        self._clock = clock

    @property
    def usd_per_second(self) -> float | None:
        """The price of a GPU second of the attempts that start now."""
        return self._budgets.usd_per_second

    async def release(self) -> None:
        """Let what is held back start, when the service does: its limits may have changed."""
        async with self._database.transaction() as session:
            await holds.release_all(session, now=self._clock.wall())

    async def enforce(self) -> bool:
        """Hold back what may not start today; False if more is left to hold back than fits into a round."""
        await self._budgets.refresh()
        user_ids = self._budgets.list_reached()
        if user_ids is not None and not user_ids:
            return True
        async with self._database.transaction() as session:
            held = await holds.hold(
                session, user_ids, self._budgets.find_reached, until=end_of(self._budgets.today)
            )
        for job in held:
            self._changes.publish(job)
        return len(held) < holds.JOBS_AT_ONCE


def find_spent_limit(job: Job) -> AttemptFailure | None:
    """Return the failure of a job whose earlier attempts have cost as much as it may; None if it may start."""
    failure = find_own_limit(job.cost_usd, job.max_cost_usd)
    return None if failure is None else AttemptFailure(BUDGET_EXCEEDED, failure.message, retryable=False)
