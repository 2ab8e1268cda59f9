"""Select the deliveries to send next, fairly between endpoints.

Slow endpoints and long backlogs must not delay the others. Endpoints are healthy (they respond fast) or unproven
(new, slow or failing). Healthy ones come first, but each group has a share of the slots that the other cannot take;
within a group endpoints take turns.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.webhooks.models import Delivery
from service.webhooks.scheduling.due_query import DueBacklog
from service.webhooks.scheduling.endpoint_health import EndpointHealth


@dataclass(frozen=True)
class InFlight:
    """An attempt in flight since `at`, by the monotonic clock."""

    delivery: Delivery
    at: float


@dataclass(frozen=True)
class EndpointBacklog:
    """What is due for an endpoint, in order, and what is known of it.

    `concurrency` is how many deliveries at a time it may be sent if it is unproven.
    """

    endpoint_id: str
    due: tuple[str, ...]
    healthy: bool = True
    in_flight: int = 0
    last_served: int = 0
    concurrency: int = 1

    def head(self, limit: int) -> tuple[str, ...]:
        """Return the first due deliveries, at most `limit` less those in flight."""
        return self.due[: max(0, limit - self.in_flight)]


@dataclass(frozen=True)
class Capacity:
    """How many attempts may be in flight, in all and per endpoint, and how many are.

    `extra` counts those of unproven endpoints that are not the only one of their endpoint.
    """

    total: int
    per_endpoint: int
    healthy: int = 0
    unproven: int = 0
    extra: int = 0

    @property
    def free(self) -> int:
        return self.total - self.healthy - self.unproven

    @property
    def free_for_healthy(self) -> int:
        """Free slots for healthy endpoints; a quarter of all is reserved for unproven ones."""
        return min(self.free, self.total - self.total // 4 - self.healthy)

    @property
    def free_for_unproven(self) -> int:
        """Free slots for unproven endpoints: at most half of all, however many of them hang."""
        return min(self.free, max(1, self.total // 2) - self.unproven)

    @property
    def free_for_extra(self) -> int:
        """Free slots for second and further deliveries to unproven endpoints.

        At most a quarter of all, and an eighth stays free for those that have none.
        """
        return min(self.total // 4 - self.extra, self.free - max(1, self.total // 8))


@dataclass(frozen=True)
class Occupancy:
    """The attempts that are in flight, and what they leave free."""

    health: EndpointHealth
    capacity: Capacity
    in_flight: Counter[str]
    slow: frozenset[str]

    @classmethod
    def measure(
        cls, attempts: Sequence[InFlight], health: EndpointHealth, *, total: int, per_endpoint: int
    ) -> "Occupancy":
        """Count the attempts, and those of healthy endpoints among them."""
        in_flight = count_by_endpoint(attempts)
        slow_since = time.monotonic() - health.healthy_seconds
        slow = frozenset(attempt.delivery.endpoint_id for attempt in attempts if attempt.at < slow_since)
        healthy = {endpoint_id for endpoint_id in in_flight if health.is_healthy(endpoint_id)} - slow
        healthy_count = sum(in_flight[endpoint_id] for endpoint_id in healthy)
        extra = sum(count - 1 for endpoint_id, count in in_flight.items() if endpoint_id not in healthy)
        unproven_count = in_flight.total() - healthy_count
        capacity = Capacity(total, per_endpoint, healthy_count, unproven_count, extra)
        return cls(health, capacity, in_flight, slow)

    def is_healthy(self, endpoint_id: str) -> bool:
        """Tell whether the endpoint responds fast, as far as is known."""
        return self.health.is_healthy(endpoint_id) and endpoint_id not in self.slow

    def has_slot(self, endpoint_id: str) -> bool:
        """Tell whether there is a free slot for endpoints such as this one."""
        capacity = self.capacity
        return (capacity.free_for_healthy if self.is_healthy(endpoint_id) else capacity.free_for_unproven) > 0

    def has_room(self, endpoint_id: str) -> bool:
        """Tell whether the endpoint may be sent another delivery beside those in flight."""
        each = self.capacity.per_endpoint
        limit = each if self.is_healthy(endpoint_id) else min(self.health.concurrency(endpoint_id), each)
        return self.in_flight[endpoint_id] < limit


def select_deliveries(
    due: Sequence[DueBacklog],
    attempts: Sequence[InFlight],
    health: EndpointHealth,
    *,
    total: int,
    per_endpoint: int,
    now: float,
) -> list[str]:
    """Return the ids of the deliveries to send next, within rate limits; endpoints that are backing off get none."""
    occupancy = Occupancy.measure(attempts, health, total=total, per_endpoint=per_endpoint)
    backlogs = [
        EndpointBacklog(
            backlog.endpoint_id,
            backlog.due if backlog.pace is None else backlog.due[: backlog.pace.count_allowed(now)],
            healthy=occupancy.is_healthy(backlog.endpoint_id) and not backlog.failing,
            in_flight=occupancy.in_flight[backlog.endpoint_id],
            last_served=health.last_served(backlog.endpoint_id),
            concurrency=1 if backlog.failing else health.concurrency(backlog.endpoint_id),
        )
        for backlog in due
        if not health.is_backing_off(backlog.endpoint_id, now=now)
    ]
    return share_slots(backlogs, occupancy.capacity)


def share_slots(backlogs: Sequence[EndpointBacklog], capacity: Capacity) -> list[str]:
    """Return the ids of the deliveries that get a slot, least recently served first.

    A healthy endpoint may use `per_endpoint` slots. An unproven one may use one, so that endpoints that hang never
    fill the pool, and up to its `concurrency` while slots are left over.
    """
    ordered = sorted(backlogs, key=lambda backlog: backlog.last_served)
    healthy = [backlog.head(capacity.per_endpoint) for backlog in ordered if backlog.healthy]
    unproven = [backlog.head(1) for backlog in ordered if not backlog.healthy]
    selected = _round_robin(healthy)[: max(0, capacity.free_for_healthy)]
    remaining = min(capacity.free_for_unproven, capacity.free - len(selected))
    first = _round_robin(unproven)[: max(0, remaining)]
    selected += first
    extra = [_extra(backlog, capacity.per_endpoint) for backlog in ordered if not backlog.healthy]
    remaining = min(capacity.free_for_unproven - len(first), capacity.free_for_extra - len(selected))
    return selected + _round_robin(extra)[: max(0, remaining)]


def count_by_endpoint(attempts: Iterable[InFlight]) -> Counter[str]:
    """Count the attempts of each endpoint."""
    return Counter(attempt.delivery.endpoint_id for attempt in attempts)


def _extra(backlog: EndpointBacklog, per_endpoint: int) -> Sequence[str]:
    """Return what an unproven endpoint may be sent in addition to its first delivery."""
    first = max(0, 1 - backlog.in_flight)
    return backlog.head(min(backlog.concurrency, per_endpoint))[first:]


def _round_robin(lists: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, lists), default=0)
    return [items[index] for index in range(longest) for items in lists if index < len(items)]
