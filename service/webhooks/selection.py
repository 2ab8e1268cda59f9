"""Select the deliveries of a round from what is due, what is in flight, and what is known of the endpoints."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.webhooks.due_query import DueBacklog
from service.webhooks.endpoint_health import EndpointHealth
from service.webhooks.fairness import Capacity, EndpointBacklog, chosen
from service.webhooks.models import Delivery


@dataclass(frozen=True)
class InFlight:
    """An attempt that is under way since `at`, by the monotonic clock."""

    delivery: Delivery
    at: float


def count_by_endpoint(attempts: Iterable[InFlight]) -> Counter[str]:
    """Count the attempts of each endpoint."""
    return Counter(attempt.delivery.endpoint_id for attempt in attempts)


def select_deliveries(
    backlogs: Sequence[DueBacklog],
    attempts: Sequence[InFlight],
    known: EndpointHealth,
    *,
    total: int,
    per_endpoint: int,
    now: float,
) -> list[str]:
    """Return the ids of the deliveries to send next; an endpoint that has just failed again is left out."""
    in_flight = count_by_endpoint(attempts)
    long_ago = time.monotonic() - known.brisk_seconds
    late = {attempt.delivery.endpoint_id for attempt in attempts if attempt.at < long_ago}
    healthy = {endpoint_id for endpoint_id in in_flight if known.brisk(endpoint_id)} - late
    candidates = [
        EndpointBacklog(
            backlog.endpoint_id,
            backlog.due,
            brisk=known.brisk(backlog.endpoint_id)
            and backlog.endpoint_id not in late
            and not backlog.failing,
            under_way=in_flight[backlog.endpoint_id],
            last_turn=known.last_turn(backlog.endpoint_id),
            limit=1 if backlog.failing else known.limit(backlog.endpoint_id),
        )
        for backlog in backlogs
        if not known.rests(backlog.endpoint_id, now=now)
    ]
    healthy_count = sum(in_flight[endpoint_id] for endpoint_id in healthy)
    extra = sum(count - 1 for endpoint_id, count in in_flight.items() if endpoint_id not in healthy)
    places = Capacity(total, per_endpoint, healthy_count, in_flight.total() - healthy_count, extra)
    return chosen(candidates, places)
