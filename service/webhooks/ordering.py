"""The ordering rule as SQL: which older event of its export a delivery waits for, and for how long."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, case

from infra.database.base import Dialect
from service.clock import SLACK_SECONDS
from service.webhooks.models import DELIVERIES

# What this process is sending counts as in flight even if the clock was set and its lease seems to have ended.
_BLOCKED: Final = """EXISTS (SELECT 1 FROM webhook_deliveries AS older
    WHERE older.endpoint_id = {delivery}.endpoint_id AND older.job_id = {delivery}.job_id
        AND older.sequence < {delivery}.sequence
        AND (older.lease_until > :now
            OR {older_is_here}
            OR (older.state = 'pending' AND older.tries = 0 AND older.type <> 'export.progress')))"""


def is_blocked(delivery: str, dialect: Dialect) -> str:
    """Return the SQL condition that the row of `delivery` waits for an older event.

    `delivery` is a table or an alias. It waits for events of the same export and endpoint that are in flight or were
    never sent. Parameters: `:now`, and `:here` from `in_flight_json`.
    """
    return _BLOCKED.format(delivery=delivery, older_is_here=is_in_flight_here("older", dialect))


def is_in_flight_here(delivery: str, dialect: Dialect) -> str:
    """Return the SQL condition that this process is sending the row of `delivery`."""
    return f"{delivery}.delivery_id IN (SELECT value FROM {dialect.json_rows(':here')})"  # noqa: S608 - constants only


def in_flight_json(delivery_ids: Sequence[str]) -> str:
    """Return the value of `:here`: the ids of the deliveries that this process is sending."""
    return json.dumps(list(delivery_ids))


def keep_lease(now: ColumnElement[float]) -> Mapping[str, ColumnElement[Any]]:
    """Return the times of a delivery that ends while an attempt at it may be in flight: its lease stays.

    If the clock was set back since the lease was taken, it lasts as long as it would have without that.
    """
    lease, taken_at = DELIVERIES.c.lease_until, DELIVERIES.c.scheduled_at
    is_ahead = taken_at > now + SLACK_SECONDS
    return {
        "lease_until": case((is_ahead, now + lease - taken_at), else_=lease),
        "scheduled_at": case((is_ahead, now), else_=taken_at),
    }
