"""What this process has seen of endpoints: how fast they answer, how many at a time they take, and their last turn."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from service.webhooks.concurrency import ConcurrencyLimit

HEALTHY_SECONDS: Final = 2.0
"""Whoever answers within this time holds up nobody."""
FAILURES_BEFORE_BACKOFF: Final = 3
MAX_BACKOFF_SECONDS: Final = 16.0
"""Whoever fails so often in a row is left alone for a moment, longer each time: a backlog that fails at once must not
cost the others."""
MAX_TRACKED: Final = 10_000


@dataclass
class _Seen:
    turn: int = 0
    brisk: bool = False
    failures: int = 0
    rests_until: float = 0.0
    limit: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)


class EndpointHealth:
    """Forgets first whoever had no turn for longest; a stranger is not taken for brisk."""

    def __init__(self, most: int = MAX_TRACKED, brisk_seconds: float = HEALTHY_SECONDS) -> None:
        self._most = most
        self.brisk_seconds = brisk_seconds
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._turns = 0

    def begun(self, endpoint_id: str) -> None:
        """It has a turn."""
        self._turns += 1
        self._seen.setdefault(endpoint_id, _Seen()).turn = self._turns
        self._seen.move_to_end(endpoint_id)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def ended(
        self,
        endpoint_id: str,
        *,
        delivered: bool,
        seconds: float,
        now: float,
        in_flight: int = 1,
        maximum: int = 1,
    ) -> None:
        """It has answered, or not, while it was sent `in_flight` at a time of `maximum`."""
        seen = self._seen.get(endpoint_id)
        if seen is None:
            return
        seen.brisk = delivered and seconds < self.brisk_seconds
        seen.failures = 0 if delivered else seen.failures + 1
        doubled = 2.0 ** min(seen.failures - FAILURES_BEFORE_BACKOFF, 9)
        seen.rests_until = now + min(doubled, MAX_BACKOFF_SECONDS) if doubled >= 1 else 0.0
        if delivered:
            seen.limit.record_success(seconds, in_flight=in_flight, maximum=maximum)
        else:
            seen.limit.record_failure()

    def rests(self, endpoint_id: str, *, now: float) -> bool:
        """Whether it has just failed again; a clock that was set back ends that as well."""
        seen = self._seen.get(endpoint_id)
        return seen is not None and 0 < seen.rests_until - now <= MAX_BACKOFF_SECONDS

    def brisk(self, endpoint_id: str) -> bool:
        """Whether its last answer was a good one, and came at once."""
        seen = self._seen.get(endpoint_id)
        return seen is not None and seen.brisk

    def limit(self, endpoint_id: str) -> int:
        """Return how many deliveries at a time it has earned by its answers; one for a stranger."""
        seen = self._seen.get(endpoint_id)
        return seen.limit.value if seen else 1

    def last_turn(self, endpoint_id: str) -> int:
        """Grows with every turn of anybody; 0 for whoever had none."""
        seen = self._seen.get(endpoint_id)
        return seen.turn if seen else 0
