"""`GET /api/usage`: what exports took and cost, by day, user, project or type."""

import re
from datetime import date
from typing import Annotated, Self, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Tag, declare_operation
from service.api.requests import StrictModel, json_response, parse_query
from service.api.state import State
from service.costs.days import day_of, day_of_date, to_date
from service.costs.usage_report import (
    MAX_DAYS,
    GroupBy,
    Period,
    UsageGroup,
    UsageTotals,
    read_groups,
    read_total,
)
from service.keys.scopes import Scope

USUAL_DAYS = 30
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _read_day(value: object) -> object:
    """Refuse a number, which pydantic would take for seconds since the epoch."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("must be a day, such as 2026-01-31")
    return value


Day = Annotated[
    date, pydantic.Field(ge=date(1970, 1, 1), le=date(9000, 1, 1)), pydantic.BeforeValidator(_read_day)
]


class UsageQuery(StrictModel):
    """`?from=2026-11-01&to=2026-11-30&group_by=day`: both days (UTC) are included; the last 30 days by default."""

    first: Annotated[Day | None, pydantic.Field(alias="from")] = None
    last: Annotated[Day | None, pydantic.Field(alias="to")] = None
    group_by: GroupBy = GroupBy.DAY

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> Self:
        if (
            self.first is not None
            and self.last is not None
            and not 0 <= (self.last - self.first).days < MAX_DAYS
        ):
            raise ValueError(f"from and to must be at most {MAX_DAYS} days, the earlier one first")
        return self

    def to_days(self, today: int) -> tuple[int, int]:
        """Return the first and the last day; one that is not given is 30 days from the other, or today."""
        if self.first is not None and self.last is None:
            first = day_of_date(self.first)
            return first, max(first, min(today, first + MAX_DAYS - 1))
        last = today if self.last is None else day_of_date(self.last)
        return last - USUAL_DAYS + 1 if self.first is None else day_of_date(self.first), last


_Days = TypedDict("_Days", {"from": str, "to": str})  # `from` can't be a name in a class


class Usage(_Days):
    """The totals of a period; `total` is the sum of all groups, of which the dearest 1,000 are listed."""

    group_by: GroupBy
    groups: list[UsageGroup]
    total: UsageTotals


@declare_operation("get_usage", Tag.OPERATION, query=UsageQuery, answers={200: Usage}, scope=Scope.USAGE_READ)
async def get(request: Request[State]) -> Response:
    """Sum up what the exports took and cost that ended in a period: the user's own, or for operators all users'.

    What is still running is not in it. `key` is null for exports without a project, and for users who were erased.
    """
    state = request.state
    user_id = await state["authenticator"].user(request)
    query = parse_query(request, UsageQuery)
    first, last = query.to_days(day_of(state["clock"].wall()))
    operators = state["operation"].operators
    sees_all = operators is None or user_id in operators
    period = Period(first, last, None if sees_all else user_id)
    async with state["database"].reading() as session:
        groups = await read_groups(session, period, query.group_by)
        total = await read_total(session, period)
    return json_response(
        Usage(
            {
                "from": to_date(first).isoformat(),
                "to": to_date(last).isoformat(),
                "group_by": query.group_by,
                "groups": groups,
                "total": total,
            }
        )
    )
