"""What exports may cost, and which of them have reached that: rules without a database.

An export has its own limit; a user and the service have one for each day (UTC). Every callback says what its export has
cost so far, so a run that reaches a limit is stopped at its next callback. What other replicas spend is known when the
account is loaded again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from callbacks.envelope import Failure
from service.costs.days import format_end

BUDGET_EXCEEDED: Final = "budget_exceeded"


@dataclass(frozen=True)
class DayLimits:
    """What the exports of one user, and those of all, may cost in a day; None without a limit."""

    user_usd: float | None = None
    total_usd: float | None = None

    @property
    def exist(self) -> bool:
        """Tell whether there is a limit."""
        return self.user_usd is not None or self.total_usd is not None


class RunningCost(NamedTuple):
    """What an active export of a user has cost beyond `counted_usd`, which its ends before a retry have added."""

    user_id: str
    usd: float
    counted_usd: float = 0.0

    def is_of_same_try(self, other: "RunningCost | None") -> bool:
        """Tell whether the export was not retried between the two."""
        return other is not None and self.counted_usd == other.counted_usd


class DayAccount:
    """What a day has cost so far, as far as this replica knows.

    An export counts for the day on which it ends, and for today while it is active. What it is known to cost only
    rises, so callbacks that arrive late or twice change nothing.
    """

    def __init__(self, limits: DayLimits) -> None:
        self._limits = limits
        self._day = -1
        self._running: dict[str, RunningCost] = {}
        self._by_user: dict[str, float] = {}
        self._total = 0.0

    def load(self, day: int, ended: Mapping[str, float], running: Mapping[str, RunningCost]) -> None:
        """Replace the account by what the database knows: the costs of ended exports by user, and active exports."""
        known = self._running
        self._day, self._running, self._by_user = day, {}, dict(ended)
        self._total = sum(ended.values())
        for job_id, cost in running.items():
            self.note(job_id, cost)
            if cost.is_of_same_try(known.get(job_id)):
                self.note(job_id, known[job_id])

    def note(self, job_id: str, cost: RunningCost) -> None:
        """Take what an active export has cost so far."""
        known = self._running.get(job_id)
        added = cost.usd - known.usd if known is not None and known.is_of_same_try(cost) else cost.usd
        if added <= 0:
            return
        self._running[job_id] = cost
        self._by_user[cost.user_id] = self._by_user.get(cost.user_id, 0.0) + added
        self._total += added

    def find_reached(self, user_id: str, *, day: int) -> str | None:
        """Return why exports of the user may not run on this day, as a sentence; None if they may."""
        if self._has_reached_total(day):
            return f"The budget of the service for today is used up until {format_end(day)}."
        if self._has_reached_own(user_id, day):
            usd = self._limits.user_usd
            return f"Your exports have used up their budget of ${usd:g} a day until {format_end(day)}."
        return None

    def list_reached(self, *, day: int) -> list[str] | None:
        """Return the users whose exports may not run on this day; None for all users."""
        if self._has_reached_total(day):
            return None
        return [user_id for user_id in self._by_user if self._has_reached_own(user_id, day)]

    def _has_reached_total(self, day: int) -> bool:
        limit = self._limits.total_usd
        return day == self._day and limit is not None and self._total >= limit

    def _has_reached_own(self, user_id: str, day: int) -> bool:
        limit = self._limits.user_usd
        return day == self._day and limit is not None and self._by_user.get(user_id, 0.0) >= limit


def find_own_limit(usd: float | None, max_usd: float | None) -> Failure | None:
    """Return the failure of an export that has cost as much as it may; None if it may go on."""
    if usd is None or max_usd is None or usd < max_usd:
        return None
    message = (
        f"The export has cost ${usd:.4f} and may cost ${max_usd:g} (max_cost_usd). "
        "Create it again with a higher limit, or make it shorter or smaller."
    )
    return Failure(code=BUDGET_EXCEEDED, message=message)


def find_day_limit(reason: str | None) -> Failure | None:
    """Return the failure of a run that was stopped because a day's budget is used up."""
    return (
        None if reason is None else Failure(code=BUDGET_EXCEEDED, message=f"{reason} Retry the export then.")
    )
