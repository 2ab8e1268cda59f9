"""The endpoints that may have due deliveries.

A round looks at these only, so that what it costs does not grow with the endpoints that wait for something else. An
endpoint is added when a delivery is written for it, when the result of an attempt at it is recorded, and by a scan of
the database, which also finds what other replicas wrote, what becomes due, and what is missing here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from service.webhooks.scheduling.agenda import Round
from service.webhooks.scheduling.endpoint_health import EndpointHealth
from service.webhooks.scheduling.fairness import Occupancy

LIMITS: Final = {Round.PROMPT: 64, Round.NEW: 4, Round.RESULTS: 0, Round.SUSPECTS: 16}
"""How many endpoints a round of each kind looks at. They take turns, so that none waits for ever."""


@dataclass
class ReadyEndpoints:
    """Endpoints in the order in which they were added, apart by the kind of round that serves them."""

    health: EndpointHealth
    _lanes: dict[Round, dict[str, None]] = field(default_factory=lambda: {kind: {} for kind in Round})
    _delayed: dict[str, float] = field(default_factory=dict)

    @property
    def kinds(self) -> list[Round]:
        """The kinds of rounds that have endpoints to look at."""
        return [kind for kind, endpoints in self._lanes.items() if endpoints]

    def add(self, endpoint_ids: Iterable[str]) -> None:
        """Add endpoints; those that are ready already keep their turn."""
        for endpoint_id in endpoint_ids:
            mine = self._choose_lane(endpoint_id)
            for lane in self._lanes.values():
                if lane is not mine:
                    lane.pop(endpoint_id, None)
            mine[endpoint_id] = None

    def delay(self, moments: Mapping[str, float]) -> None:
        """Leave endpoints out until these moments."""
        self._delayed.update(moments)

    def take(self, kind: Round, occupancy: Occupancy, *, now: float, limit: int | None = None) -> list[str]:
        """Take out the endpoints that a round of this kind looks at: those that may be sent something now."""
        self._add_delayed(now)
        limit = LIMITS[kind] if limit is None else limit
        if kind is not Round.PROMPT and occupancy.capacity.free_for_unproven <= 0:
            return []
        taken: list[str] = []
        lane = self._lanes[kind]
        for endpoint_id in self._iterate_servable(lane, occupancy, now):
            if len(taken) >= limit:
                break
            del lane[endpoint_id]
            if (now_in := self._choose_lane(endpoint_id)) is lane:
                taken.append(endpoint_id)
            else:
                now_in[endpoint_id] = None
        return taken

    def _choose_lane(self, endpoint_id: str) -> dict[str, None]:
        if self.health.is_suspect(endpoint_id):
            return self._lanes[Round.SUSPECTS]
        return self._lanes[Round.PROMPT if self.health.is_healthy(endpoint_id) else Round.NEW]

    def _add_delayed(self, now: float) -> None:
        due = [endpoint_id for endpoint_id, at in self._delayed.items() if at <= now]
        for endpoint_id in due:
            del self._delayed[endpoint_id]
        self.add(due)

    def _iterate_servable(
        self, endpoints: dict[str, None], occupancy: Occupancy, now: float
    ) -> Iterator[str]:
        """Yield endpoints for which there is a slot, and drop those that may not be sent anything now.

        An endpoint that has as many in flight as it may have is added again with the next result. A scan adds one
        again that was backing off.
        """
        for endpoint_id in list(endpoints):
            if self.health.is_backing_off(endpoint_id, now=now) or not occupancy.has_room(endpoint_id):
                del endpoints[endpoint_id]
            elif occupancy.has_slot(endpoint_id):
                yield endpoint_id
