"""Claim the deliveries that a worker sends next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import dialect_of
from service.webhooks import deliveries, endpoint_status
from service.webhooks.deliveries import ClaimedDelivery
from service.webhooks.scheduling.due_query import DueBacklog, select_due
from service.webhooks.scheduling.endpoint_health import HEALTHY_SECONDS, EndpointHealth
from service.webhooks.scheduling.fairness import InFlight, select_deliveries
from service.webhooks.scheduling.pacing import save_paces

_CLAIM_LOCK: Final = "framehook webhook claims"
"""PostgreSQL's advisory lock for claiming: a replica sees what the previous one has claimed."""


@dataclass(frozen=True)
class WorkerConfig:
    """Limits of one process: attempts in flight, length of a lease, how often to poll.

    An endpoint that responds within `healthy_seconds` delays no other endpoint.
    """

    max_in_flight: int = 128
    per_endpoint: int = 8
    lease_seconds: float = 60.0
    idle_seconds: float = 1.0
    healthy_seconds: float = HEALTHY_SECONDS

    @property
    def start_within_seconds(self) -> float:
        """Time after the claim in which an attempt may start; a later one could outlive its lease."""
        return self.lease_seconds / 2


@dataclass(frozen=True)
class Claim:
    """What a round has claimed.

    `left` are endpoints that may have more that is due; `paced` says when those with a rate limit may go on.
    """

    deliveries: Sequence[ClaimedDelivery] = ()
    superseded: int = 0
    has_more: bool = False
    left: Sequence[str] = ()
    paced: Mapping[str, float] = field(default_factory=dict)


async def claim_due(
    session: AsyncSession,
    config: WorkerConfig,
    in_flight: Sequence[InFlight],
    health: EndpointHealth,
    *,
    endpoint_ids: Sequence[str],
    listening: Sequence[str],
    now: float,
) -> Claim:
    """Claim what is due for these endpoints, as far as there are slots and the limits of endpoints allow it."""
    if not endpoint_ids or len(in_flight) >= config.max_in_flight:
        return Claim(left=endpoint_ids)
    # Two replicas that claim at the same time could send two states of one export in any order.
    await dialect_of(session).lock(session, _CLAIM_LOCK)
    here = [attempt.delivery.delivery_id for attempt in in_flight]
    each = config.per_endpoint
    backlogs = await select_due(
        session, endpoint_ids=endpoint_ids, each=each, in_flight_here=here, listening=listening, now=now
    )
    inactive = [backlog.endpoint_id for backlog in backlogs if not backlog.enabled]
    has_more = bool(inactive) and await endpoint_status.fail_pending(session, inactive, now=now)
    active = [backlog for backlog in backlogs if backlog.enabled]
    ids = select_deliveries(active, in_flight, health, total=config.max_in_flight, per_endpoint=each, now=now)
    superseded = await deliveries.supersede_stale(session, ids, now=now) if ids else set()
    claimed = await deliveries.claim(
        session,
        [delivery_id for delivery_id in ids if delivery_id not in superseded],
        lease_seconds=config.lease_seconds,
        now=now,
        in_flight_here=here,
    )
    counts = Counter(delivery.endpoint.endpoint_id for delivery in claimed)
    paced = await _advance_paces(session, active, counts, now)
    left = [backlog.endpoint_id for backlog in active if _has_more(backlog, counts, each)]
    left = [endpoint_id for endpoint_id in left if endpoint_id not in paced] + inactive * has_more
    return Claim(claimed, len(superseded), has_more or bool(superseded), left, paced)


def _has_more(backlog: DueBacklog, counts: Counter[str], each: int) -> bool:
    """Tell whether more may be due than was claimed: at most `each` was selected."""
    return not counts[backlog.endpoint_id] == len(backlog.due) < each


async def _advance_paces(
    session: AsyncSession, backlogs: Sequence[DueBacklog], counts: Counter[str], now: float
) -> Mapping[str, float]:
    """Count what was claimed against the rate limits; return when each endpoint that has to wait may go on."""
    paces = {
        backlog.endpoint_id: backlog.pace.advance(count, now) if count else backlog.pace
        for backlog in backlogs
        if backlog.pace is not None
        for count in [counts[backlog.endpoint_id]]
    }
    await save_paces(session, {name: pace for name, pace in paces.items() if counts[name]})
    return {name: pace.next_at for name, pace in paces.items() if pace.next_at > now}
