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

LIMITS: Final = {Round.PROMPT: 64, Round.RESULTS: 0, Round.SUSPECTS: 16}
"""How many endpoints a round of each kind looks at. They take turns, so that none waits for ever."""


@dataclass
class ReadyEndpoints:
    """Endpoints in the order in which they were added; suspects apart from the others."""

    health: EndpointHealth
    _prompt: dict[str, None] = field(default_factory=dict)
    _suspects: dict[str, None] = field(default_factory=dict)
    _delayed: dict[str, float] = field(default_factory=dict)

    @property
    def kinds(self) -> list[Round]:
        """The kinds of rounds that have endpoints to look at."""
        lanes = {Round.PROMPT: self._prompt, Round.SUSPECTS: self._suspects}
        return [kind for kind, endpoints in lanes.items() if endpoints]

    def add(self, endpoint_ids: Iterable[str]) -> None:
        """Add endpoints; those that are ready already keep their turn."""
        for endpoint_id in endpoint_ids:
            is_suspect = self.health.is_suspect(endpoint_id)
            mine, other = (self._suspects, self._prompt) if is_suspect else (self._prompt, self._suspects)
            other.pop(endpoint_id, None)
            mine[endpoint_id] = None

    def delay(self, moments: Mapping[str, float]) -> None:
        """Leave endpoints out until these moments."""
        self._delayed.update(moments)

    def take(self, kind: Round, occupancy: Occupancy, *, now: float, limit: int | None = None) -> list[str]:
        """Take out the endpoints that a round of this kind looks at: those that may be sent something now."""
        self._add_delayed(now)
        limit = LIMITS[kind] if limit is None else limit
        if kind is Round.PROMPT:
            return self._take(self._prompt, occupancy, limit, now)
        if occupancy.capacity.free_for_unproven <= 0:
            return []
        return self._take(self._suspects, occupancy, limit, now)

    def _add_delayed(self, now: float) -> None:
        due = [endpoint_id for endpoint_id, at in self._delayed.items() if at <= now]
        for endpoint_id in due:
            del self._delayed[endpoint_id]
        self.add(due)

    def _take(self, endpoints: dict[str, None], occupancy: Occupancy, limit: int, now: float) -> list[str]:
        taken: list[str] = []
        for endpoint_id in self._iterate_servable(endpoints, occupancy, now):
            if len(taken) >= limit:
                break
            del endpoints[endpoint_id]
            if endpoints is self._prompt and self.health.is_suspect(endpoint_id):
                self._suspects[endpoint_id] = None
            else:
                taken.append(endpoint_id)
        return taken

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
