"""What exports have used between two days: the totals of `usage_days`, grouped."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypedDict

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.costs.days import to_date
from service.costs.usage import USAGE_DAYS

MAX_DAYS: Final = 366
MAX_GROUPS: Final = 1_000
_SUMS: Final = tuple(
    func.sum(USAGE_DAYS.c[name])
    for name in ("exports", "output_seconds", "gpu_seconds", "cost_usd", "unpriced_gpu_seconds")
)


class GroupBy(StrEnum):
    """What has a group of its own."""

    DAY = "day"
    USER = "user"
    PROJECT = "project"
    TYPE = "type"


_COLUMNS: Final = {
    GroupBy.DAY: USAGE_DAYS.c.day,
    GroupBy.USER: USAGE_DAYS.c.user_id,
    GroupBy.PROJECT: USAGE_DAYS.c.project_id,
    GroupBy.TYPE: USAGE_DAYS.c.type,
}


class UsageTotals(TypedDict):
    """What exports took that ended on these days.

    `cost_usd` is without the `unpriced_gpu_seconds`, the part of `gpu_seconds` whose price is unknown.
    """

    exports: int
    output_seconds: float
    gpu_seconds: float
    cost_usd: float
    unpriced_gpu_seconds: float


class UsageGroup(UsageTotals):
    """The totals of a day, user, project or type; the key is null for no project, or for users who were erased."""

    key: str | None


@dataclass(frozen=True)
class Period:
    """Days, both included, of one user; of all users if `user_id` is None."""

    first: int
    last: int
    user_id: str | None

    def matches(self) -> list[ColumnElement[bool]]:
        """Return the condition on rows."""
        of_user = [] if self.user_id is None else [USAGE_DAYS.c.user_id == self.user_id]
        return [USAGE_DAYS.c.day.between(self.first, self.last), *of_user]


async def read_groups(session: AsyncSession, period: Period, group_by: GroupBy) -> list[UsageGroup]:
    """Return days in their order; of all others the dearest MAX_GROUPS, dearest first."""
    column, cost, gpu_seconds = _COLUMNS[group_by], _SUMS[3], _SUMS[2]
    order = [column] if group_by is GroupBy.DAY else [cost.desc(), gpu_seconds.desc(), column]
    query = (
        select(column, *_SUMS).where(*period.matches()).group_by(column).order_by(*order).limit(MAX_GROUPS)
    )
    rows = (await session.execute(query)).all()
    return [UsageGroup(key=_to_key(key), **_to_totals(*sums)) for key, *sums in rows]


async def read_total(session: AsyncSession, period: Period) -> UsageTotals:
    """Return the sum of all groups, also of those that `read_groups` leaves out."""
    sums = (await session.execute(select(*_SUMS).where(*period.matches()))).one()
    return _to_totals(*(value or 0 for value in sums))


def _to_key(key: str | int) -> str | None:
    return to_date(key).isoformat() if isinstance(key, int) else key or None


def _to_totals(
    exports: int, output_seconds: float, gpu_seconds: float, cost_usd: float, unpriced: float
) -> UsageTotals:
    return {
        "exports": exports,
        "output_seconds": round(float(output_seconds), 3),
        "gpu_seconds": round(float(gpu_seconds), 3),
        "cost_usd": round(float(cost_usd), 6),
        "unpriced_gpu_seconds": round(float(unpriced), 3),
    }
