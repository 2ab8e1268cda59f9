"""Time: what rows and people are told, and what this process measures durations with."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Both clocks, as tests replace them, in seconds.

    `wall` counts from 1970, and may step forward or back at any moment; `monotonic` only ever goes on.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
