"""When receivers are down: for hours of simulated time, one of them for good."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.workload.webhook_receiver import ResponsePlan

HOUR_SECONDS = 3_600.0
DAY_SECONDS = 24 * HOUR_SECONDS
GONE = 410
_ANSWERS = (500, 502, 503, None)


@dataclass(frozen=True)
class Outages:
    """The times at which a receiver refuses everything, in seconds since the epoch; from `gone_at` on it is gone."""

    periods: Sequence[tuple[float, float]] = ()
    gone_at: float = float("inf")

    def respond(self, now: float, chance: random.Random) -> ResponsePlan:
        """Return how a request is answered at this time."""
        if now >= self.gone_at:
            return ResponsePlan(GONE)
        is_down = any(begin <= now < end for begin, end in self.periods)
        return ResponsePlan(chance.choice(_ANSWERS) if is_down else 204, chance.random() * 0.1)


def draw_outages(number: int, begin: float, seconds: float, chance: random.Random) -> Outages:
    """Return the outages of the receiver with this number.

    Of ten, one is always up, one is down nearly all the time, one is gone after half of the time, and the others are
    down for up to fourteen hours several times.
    """
    match number % 10:
        case 0:
            return Outages()
        case 1:
            return Outages([(begin + 0.05 * seconds, begin + seconds)])
        case 2:
            return Outages(gone_at=begin + chance.uniform(0.3, 0.6) * seconds)
        case _:
            count = max(2, round(seconds / DAY_SECONDS))
            starts = [begin + chance.uniform(0, 0.9) * seconds for _ in range(count)]
            return Outages([(start, start + chance.uniform(1, 14) * HOUR_SECONDS) for start in starts])
