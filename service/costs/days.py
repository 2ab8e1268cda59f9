"""Days in UTC, counted from 1970: budgets and usage go by them."""

from datetime import UTC, date, datetime
from typing import Final

from service.clock import DAY_SECONDS

_FIRST: Final = date(1970, 1, 1).toordinal()


def day_of(at: float) -> int:
    """Return the day of a time in seconds since the epoch."""
    return int(at // DAY_SECONDS)


def end_of(day: int) -> float:
    """Return when a day ends, in seconds since the epoch."""
    return float((day + 1) * DAY_SECONDS)


def day_of_date(day: date) -> int:
    return day.toordinal() - _FIRST


def to_date(day: int) -> date:
    return date.fromordinal(_FIRST + day)


def format_end(day: int) -> str:
    """Return the end of a day as people read it, such as `2026-12-01 00:00 UTC`."""
    return datetime.fromtimestamp(end_of(day), UTC).strftime("%Y-%m-%d %H:%M UTC")
