"""What exports have used and cost."""

from datetime import date
from typing import Literal

import msgspec

GroupBy = Literal["day", "user", "project", "type"]


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What exports took that ended in a period, in US dollars and seconds.

    `cost_usd` is without the `unpriced_gpu_seconds`, the part of `gpu_seconds` whose price is unknown.
    """

    exports: int
    output_seconds: float
    gpu_seconds: float
    cost_usd: float
    unpriced_gpu_seconds: float


class UsageGroup(UsageTotals, frozen=True, kw_only=True):
    """The totals of a day, user, project or type; the key is None for no project, and for users who were erased."""

    key: str | None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The totals from the day `first` to the day `last`, both included (UTC); `groups` are at most 1,000."""

    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    group_by: str
    groups: tuple[UsageGroup, ...]
    total: UsageTotals
