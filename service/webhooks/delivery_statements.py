"""The statements that claim deliveries and record results; built once: that costs more than running them."""

from functools import cache
from typing import Final

from sqlalchemy import Executable, and_, bindparam, exists, or_, select, text, update

from callbacks.envelope import EventType
from infra.database.base import Dialect
from service.webhooks.models import DELIVERIES, IS_PENDING, DeliveryState
from service.webhooks.ordering import is_blocked

# A success counts even if its lease has ended and another process has claimed the delivery since.
SET_DELIVERED: Final = text("""
UPDATE webhook_deliveries SET state = 'delivered', ended_at = :now, lease_until = NULL
WHERE delivery_id = :delivery_id AND state <> 'delivered'
""")
# A failure counts only if no later attempt has started. If the delivery has ended since, only the lease ends. A pending
# delivery keeps a lease that ends now: without one, progress counts as never sent, and there may be only one such row.
SET_FAILED: Final = text("""
UPDATE webhook_deliveries SET
    tries = CASE WHEN state = 'pending' THEN :tries ELSE tries END,
    next_at = CASE WHEN state = 'pending' THEN :next_at ELSE next_at END,
    scheduled_at = CASE WHEN state = 'pending' THEN :now ELSE scheduled_at END,
    ended_at = CASE WHEN state = 'pending' THEN :ended_at ELSE ended_at END,
    state = CASE WHEN state = 'pending' THEN :state ELSE state END,
    lease_until = CASE WHEN state = 'pending' AND :state = 'pending' THEN :now END
WHERE delivery_id = :delivery_id AND attempts = :attempt
""")

_NEWER = DELIVERIES.alias("newer")
_IS_NAMED = DELIVERIES.c.delivery_id.in_(bindparam("ids", expanding=True))
_IS_DUE = and_(_IS_NAMED, IS_PENDING, DELIVERIES.c.next_at <= bindparam("now"))
_IS_PROGRESS = DELIVERIES.c.type == EventType.PROGRESS.value
_HAS_NEWER = exists().where(
    _NEWER.c.endpoint_id == DELIVERIES.c.endpoint_id,
    _NEWER.c.job_id == DELIVERIES.c.job_id,
    _NEWER.c.sequence > DELIVERIES.c.sequence,
)
_IS_STALE = or_(
    and_(or_(DELIVERIES.c.tries > 0, _IS_PROGRESS), _HAS_NEWER),
    and_(_IS_PROGRESS, DELIVERIES.c.created_at < bindparam("oldest")),
)
_STALE_IDS = select(DELIVERIES.c.delivery_id).where(_IS_DUE, ~DELIVERIES.c.requested, _IS_STALE)
SUPERSEDE_STALE: Final = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id.in_(_STALE_IDS.with_for_update(skip_locked=True)))
    .values(state=DeliveryState.SUPERSEDED.value, ended_at=bindparam("now"), lease_until=None)
    .returning(DELIVERIES.c.delivery_id)
)
LOCK_DELIVERIES: Final = (
    select(DELIVERIES.c.delivery_id).where(_IS_NAMED).order_by(DELIVERIES.c.delivery_id).with_for_update()
)


@cache
def lease_statement(dialect: Dialect) -> Executable:
    """Return the statement that leases those of the deliveries that are still due, and returns their rows.

    Parameters: `ids`, `now`, `lease_until`, and `here` from `in_flight_json`.
    """
    # Checked again: progress that was replaced since it was selected may be newer than an event it has to wait for.
    unblocked = text(f"NOT {is_blocked(DELIVERIES.name, dialect)}")
    ready = select(DELIVERIES.c.delivery_id).where(_IS_DUE, unblocked).with_for_update(skip_locked=True)
    values = {
        "lease_until": bindparam("lease_until"),
        "next_at": bindparam("lease_until"),
        "scheduled_at": bindparam("now"),
        "attempts": DELIVERIES.c.attempts + 1,
    }
    return update(DELIVERIES).where(DELIVERIES.c.delivery_id.in_(ready)).values(values).returning(DELIVERIES)
