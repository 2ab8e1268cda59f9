"""Select due deliveries per endpoint, at a cost that does not grow with backlogs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Dialect, dialect_of, strings_of, to_json_array
from service.metrics.database_figures import Backlog
from service.webhooks.ordering import in_flight_json, is_blocked, is_in_flight_here
from service.webhooks.scheduling.pacing import Pace

_IS_SERVED: Final = """endpoint.enabled
        AND (endpoint.kind = 'url' OR endpoint.endpoint_id IN (SELECT value FROM {listening}))"""
# The recursion jumps from endpoint to endpoint in the partial index on pending rows, so that a long backlog of one
# endpoint costs the others nothing. An endpoint that is disabled or deleted is found as long as it has pending rows.
_FIND_READY_TEMPLATE: Final = f"""
WITH RECURSIVE waiting (endpoint_id) AS (
    SELECT min(endpoint_id) FROM webhook_deliveries WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(later.endpoint_id) FROM webhook_deliveries AS later
        WHERE later.state = 'pending' AND later.endpoint_id > waiting.endpoint_id)
    FROM waiting WHERE waiting.endpoint_id IS NOT NULL
)
SELECT waiting.endpoint_id
FROM waiting LEFT JOIN webhook_endpoints AS endpoint ON endpoint.endpoint_id = waiting.endpoint_id
WHERE waiting.endpoint_id IS NOT NULL AND CASE WHEN {_IS_SERVED}
    THEN EXISTS (SELECT 1 FROM webhook_deliveries AS due
        WHERE due.endpoint_id = waiting.endpoint_id AND due.state = 'pending' AND due.next_at <= :now)
    ELSE endpoint.endpoint_id IS NULL OR NOT endpoint.enabled END
"""  # noqa: S608 - constants only
_SELECT_DUE_TEMPLATE: Final = f"""
WITH waiting (endpoint_id) AS (SELECT DISTINCT value FROM {{endpoints}})
SELECT waiting.endpoint_id, endpoint.enabled, endpoint.failing_since,
    endpoint.rate_limit, pacing.next_at,
    CASE WHEN {_IS_SERVED} THEN
    (SELECT {{delivery_ids}} FROM (
        SELECT due.delivery_id FROM webhook_deliveries AS due
        WHERE due.endpoint_id = waiting.endpoint_id AND due.state = 'pending' AND due.next_at <= :now
            AND NOT {{is_in_flight_here}} AND NOT {{is_blocked}}
        ORDER BY due.next_at LIMIT :each) AS few) END
FROM waiting LEFT JOIN webhook_endpoints AS endpoint ON endpoint.endpoint_id = waiting.endpoint_id
    LEFT JOIN webhook_pacing AS pacing ON pacing.endpoint_id = waiting.endpoint_id
"""  # noqa: S608 - constants only
# The index on `scheduled_at` has all columns of this, so that no row of a long backlog is read.
_READ_BACKLOG: Final = text("""
SELECT count(*), count(CASE WHEN next_at <= :now THEN 1 END), min(CASE WHEN next_at <= :now THEN next_at END)
FROM webhook_deliveries WHERE state = 'pending'
""")


@dataclass(frozen=True)
class DueBacklog:
    """The due deliveries of an endpoint.

    A disabled or deleted endpoint that has pending deliveries left has none that are due, and neither has a listener
    that is not connected to this process. `pace` is that of an endpoint with a rate limit.
    """

    endpoint_id: str
    enabled: bool
    failing: bool
    due: tuple[str, ...]
    pace: Pace | None = None


async def select_due(
    session: AsyncSession,
    *,
    endpoint_ids: Sequence[str],
    each: int,
    in_flight_here: Sequence[str],
    now: float,
    listening: Sequence[str] = (),
) -> list[DueBacklog]:
    """Return what is due for these endpoints, at most `each` per endpoint, without `in_flight_here`.

    `listening` are the endpoints with a listener at this process: what is due for other listeners stays.
    """
    statement = _select_due_statement(dialect_of(session))
    parameters = {
        "endpoints": to_json_array(endpoint_ids),
        "now": now,
        "each": each,
        "here": in_flight_json(in_flight_here),
        "listening": to_json_array(listening),
    }
    rows = (await session.execute(statement, parameters)).all()
    backlogs = [
        DueBacklog(
            endpoint_id,
            bool(enabled),
            failing_since is not None,
            strings_of(due),
            None if rate_limit is None else Pace(rate_limit, next_at or 0.0),
        )
        for endpoint_id, enabled, failing_since, rate_limit, next_at, due in rows
    ]
    return [backlog for backlog in backlogs if backlog.due or not backlog.enabled]


async def find_ready(session: AsyncSession, *, now: float, listening: Sequence[str] = ()) -> list[str]:
    """Return the endpoints that have due deliveries, and inactive ones that have pending deliveries left."""
    statement = _find_ready_statement(dialect_of(session))
    parameters = {"now": now, "listening": to_json_array(listening)}
    return list((await session.execute(statement, parameters)).scalars())


async def read_backlog(session: AsyncSession, now: float) -> Backlog:
    """Count the pending deliveries, for monitoring."""
    return Backlog(*(await session.execute(_READ_BACKLOG, {"now": now})).one())


@cache
def _find_ready_statement(dialect: Dialect) -> TextClause:
    return text(_FIND_READY_TEMPLATE.format(listening=dialect.json_rows(":listening")))


@cache
def _select_due_statement(dialect: Dialect) -> TextClause:
    return text(
        _SELECT_DUE_TEMPLATE.format(
            endpoints=dialect.json_rows(":endpoints"),
            delivery_ids=dialect.json_array("few.delivery_id"),
            is_in_flight_here=is_in_flight_here("due", dialect),
            is_blocked=is_blocked("due", dialect),
            listening=dialect.json_rows(":listening"),
        )
    )
