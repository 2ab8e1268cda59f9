"""What is due, endpoint by endpoint: one statement a round, whose work does not grow with anybody's backlog."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service.webhooks.ordering import in_flight_json, is_blocked, is_in_flight_here

# Endpoint by endpoint, by the index on what is pending: a backlog of one costs the others nothing.
_SELECT_DUE_TEMPLATE = """
WITH RECURSIVE waiting (endpoint_id) AS (
    SELECT min(endpoint_id) FROM webhook_deliveries WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(later.endpoint_id) FROM webhook_deliveries AS later
        WHERE later.state = 'pending' AND later.endpoint_id > waiting.endpoint_id)
    FROM waiting WHERE waiting.endpoint_id IS NOT NULL
)
SELECT waiting.endpoint_id, endpoint.enabled, endpoint.failing_since, CASE WHEN endpoint.enabled THEN
    (SELECT {json_array}(few.delivery_id) FROM (
        SELECT due.delivery_id FROM webhook_deliveries AS due
        WHERE due.endpoint_id = waiting.endpoint_id AND due.state = 'pending' AND due.next_at <= :now
            AND NOT {is_in_flight_here} AND NOT {is_blocked}
        ORDER BY due.next_at LIMIT :each) AS few) END
FROM waiting LEFT JOIN webhook_endpoints AS endpoint ON endpoint.endpoint_id = waiting.endpoint_id
WHERE waiting.endpoint_id IS NOT NULL
"""
_SELECT_DUE = {
    dialect: text(
        _SELECT_DUE_TEMPLATE.format(
            json_array=json_array,
            is_in_flight_here=is_in_flight_here("due", dialect),
            is_blocked=is_blocked("due", dialect),
        )
    )
    for dialect, json_array in (("sqlite", "json_group_array"), ("postgresql", "json_agg"))
}
_PENDING = text("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'")


@dataclass(frozen=True)
class DueBacklog:
    """What is due for one endpoint; one that is disabled or gone, and has pending deliveries left, has nothing due."""

    endpoint_id: str
    enabled: bool
    failing: bool
    due: tuple[str, ...]


async def select_due(
    session: AsyncSession, *, each: int, in_flight_here: Sequence[str], now: float
) -> list[DueBacklog]:
    """What is due, at most `each` for an endpoint, but for what this process is sending."""
    asked = _SELECT_DUE[session.get_bind().dialect.name]
    parameters = {"now": now, "each": each, "here": in_flight_json(in_flight_here)}
    rows = (await session.execute(asked, parameters)).all()
    found = [DueBacklog(row[0], bool(row[1]), row[2] is not None, _ids(row[3])) for row in rows]
    return [one for one in found if one.due or not one.enabled]


async def count_pending(session: AsyncSession) -> int:
    """How many deliveries are not at their end, for whoever watches: counted in the index on them."""
    return int((await session.execute(_PENDING)).scalar_one())


def _ids(array: Any) -> tuple[str, ...]:
    """A JSON array: text in SQLite, decoded in PostgreSQL, nothing where there is nothing."""
    return tuple(json.loads(array) if isinstance(array, str) else array or ())
