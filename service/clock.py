"""The wall clock, for rows and users, and the monotonic clock, for durations."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Both clocks, in seconds; tests replace them.

    `wall` counts from 1970 and may step forward or back at any moment; `monotonic` never goes back.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
