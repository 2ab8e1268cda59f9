"""Progress of an attempt, as the pipeline yields it."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from callbacks.envelope import Phase

# Measured fractions of an attempt's time in percent; within a phase, progress is the fraction of its work that is done.
_PHASE_PERCENT = {
    Phase.STARTING: (0.0, 1.0),
    Phase.DOWNLOADING: (1.0, 5.0),
    Phase.PROCESSING: (5.0, 95.0),
    Phase.UPLOADING: (95.0, 99.9),
}
_INTERVAL_SECONDS = 0.1

Step = TypeVar("Step")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """The phase and progress of an attempt; `progress` is in percent, rises, and stays below 100."""

    phase: Phase
    progress: float
    message: str
    eta_seconds: float | None = None


def progress_of(phase: Phase, fraction: float, message: str, eta_seconds: float | None = None) -> Progress:
    """Convert a fraction of a phase (0 to 1) to the progress of the attempt."""
    low, high = _PHASE_PERCENT[phase]
    return Progress(phase, low + (high - low) * fraction, message, eta_seconds)


def report(
    steps: Generator[float, None, Result], phase: Phase, message: str
) -> Generator[Progress, None, Result]:
    """Yield a Progress for each fraction that `steps` yields; return what `steps` returns."""
    with closing(steps):
        while True:
            try:
                fraction = next(steps)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            # Outside the `try`: an exception that is thrown in here must not be taken for the end.
            yield progress_of(phase, fraction, message)


def throttle(steps: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    """Drop steps that arrive faster than progress is reported; return what `steps` returns."""
    last_yield = time.monotonic()
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            if (now := time.monotonic()) - last_yield >= _INTERVAL_SECONDS:
                last_yield = now
                yield step
