"""How many deliveries an endpoint that answers slowly may be sent at a time: learnt from its answers; pure."""

from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 1.5
"""An answer that takes longer than this many times what one alone takes shows a receiver that works in a queue."""
NOISE_SECONDS: Final = 2.0
"""Below this, differences between answers say nothing about the receiver."""
MAX_CAUTION: Final = 64


@dataclass
class ConcurrencyLimit:
    """Doubles with every full set of good answers, falls to one with the first failure.

    A receiver that handles one request after the other answers later the more it is sent; it would time out if the
    limit did not go down as well. `caution` is how many full sets the next step takes: it doubles with a failure of
    more than one at a time, so a receiver that can't take two is rarely tried with two.
    """

    value: int = 1
    alone_seconds: float = 0.0
    successes: int = 0
    caution: int = 1

    def record_success(self, seconds: float, *, in_flight: int, maximum: int) -> None:
        """Count a good answer that came while `in_flight` deliveries, this one included, were under way."""
        if in_flight == 1:
            self.alone_seconds = seconds
        if seconds > TOLERANCE * max(self.alone_seconds, NOISE_SECONDS):
            self.value, self.successes = max(1, self.value - 1), 0
        elif (
            in_flight == self.value
        ):  # fewer say nothing about what more would do, more are from before a step down
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
