"""Track how fast each endpoint responds and when it was last served.

Kept in memory and per process: an endpoint without a history counts as unproven.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from service.webhooks.scheduling.concurrency import ConcurrencyLimit

HEALTHY_SECONDS: Final = 2.0
"""An endpoint that responds within this time delays no other endpoint."""
FAILURES_BEFORE_BACKOFF: Final = 3
MAX_BACKOFF_SECONDS: Final = 16.0
"""After three failures in a row an endpoint is paused, longer with each: a backlog that fails at once costs the
others no capacity."""
MAX_TRACKED: Final = 10_000


@dataclass
class _Record:
    served: int = 0
    healthy: bool | None = None  # until the first result
    failures: int = 0
    backing_off_until: float = 0.0
    limit: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)


class EndpointHealth:
    """What this process knows of endpoints; the one served least recently is dropped first."""

    def __init__(self, max_tracked: int = MAX_TRACKED, healthy_seconds: float = HEALTHY_SECONDS) -> None:
        self._max_tracked = max_tracked
        self.healthy_seconds = healthy_seconds
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._served = 0

    def record_start(self, endpoint_id: str) -> None:
        """Note that an attempt has started."""
        self._served += 1
        self._records.setdefault(endpoint_id, _Record()).served = self._served
        self._records.move_to_end(endpoint_id)
        if len(self._records) > self._max_tracked:
            self._records.popitem(last=False)

    def record_result(
        self,
        endpoint_id: str,
        *,
        delivered: bool,
        seconds: float,
        now: float,
        in_flight: int = 1,
        maximum: int = 1,
    ) -> None:
        """Note a result; `in_flight` attempts of at most `maximum` were made at the time."""
        record = self._records.get(endpoint_id)
        if record is None:
            return
        record.healthy = delivered and seconds < self.healthy_seconds
        record.failures = 0 if delivered else record.failures + 1
        backoff_seconds = 2.0 ** min(record.failures - FAILURES_BEFORE_BACKOFF, 9)
        is_backing_off = backoff_seconds >= 1
        record.backing_off_until = now + min(backoff_seconds, MAX_BACKOFF_SECONDS) if is_backing_off else 0.0
        if delivered:
            record.limit.record_success(seconds, in_flight=in_flight, maximum=maximum)
        else:
            record.limit.record_failure()

    def is_backing_off(self, endpoint_id: str, *, now: float) -> bool:
        """Tell whether the endpoint is paused after failures.

        A clock that was set back ends the pause.
        """
        record = self._records.get(endpoint_id)
        return record is not None and 0 < record.backing_off_until - now <= MAX_BACKOFF_SECONDS

    def is_healthy(self, endpoint_id: str) -> bool:
        """Tell whether the last attempt was delivered, and fast."""
        record = self._records.get(endpoint_id)
        return record is not None and record.healthy is True

    def is_suspect(self, endpoint_id: str) -> bool:
        """Tell whether the last attempt failed or was slow; an endpoint without a history is no suspect."""
        record = self._records.get(endpoint_id)
        return record is not None and record.healthy is False

    def failures(self, endpoint_id: str) -> int:
        """Return how many attempts have failed in a row."""
        record = self._records.get(endpoint_id)
        return record.failures if record else 0

    def concurrency(self, endpoint_id: str) -> int:
        """Return how many deliveries at a time its responses allow; one without a history."""
        record = self._records.get(endpoint_id)
        return record.limit.value if record else 1

    def last_served(self, endpoint_id: str) -> int:
        """Return the number of its latest attempt in this process; 0 if it had none."""
        record = self._records.get(endpoint_id)
        return record.served if record else 0
