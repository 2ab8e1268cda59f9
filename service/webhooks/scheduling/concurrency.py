"""Learn from response times how many deliveries an endpoint takes at a time; pure."""

from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 1.5
"""A response that takes this many times longer than one sent alone shows a receiver that queues its requests."""
NOISE_SECONDS: Final = 2.0
"""Below this, differences between response times say nothing about the receiver."""
MAX_CAUTION: Final = 64


@dataclass
class ConcurrencyLimit:
    """How many deliveries at a time: doubles with success, falls to one with a failure.

    It takes a full set of good responses to double. A receiver that handles one request after the other responds
    later the more it is sent. It would time out if the limit did not go down as well. `caution` is the number of full
    sets that the next step up takes. It doubles with each failure at a limit above one, so that a receiver that
    cannot take two at a time is rarely sent two.
    """

    value: int = 1
    alone_seconds: float = 0.0
    successes: int = 0
    caution: int = 1

    def record_success(self, seconds: float, *, in_flight: int, maximum: int) -> None:
        """Count a good response; `in_flight` includes the delivery that it is for."""
        if in_flight == 1:
            self.alone_seconds = seconds
        if seconds > TOLERANCE * max(self.alone_seconds, NOISE_SECONDS):
            self.value, self.successes = max(1, self.value - 1), 0
        # Fewer in flight say nothing about what more would do; more are from before a step down.
        elif in_flight == self.value:
            self._count_success(maximum)

    def record_failure(self) -> None:
        """Fall back to one at a time."""
        if self.value > 1:
            self.caution = min(2 * self.caution, MAX_CAUTION)
        self.value, self.successes = 1, 0

    def _count_success(self, maximum: int) -> None:
        self.successes += 1
        if self.successes < self.value * self.caution:
            return
        if self.value > 1:
            self.caution = max(1, self.caution // 2)
        self.value, self.successes = min(2 * self.value, max(1, maximum)), 0
