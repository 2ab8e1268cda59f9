"""When a delivery is tried again, and what an attempt's result means; pure."""

from dataclasses import dataclass
from typing import Final

from callbacks.envelope import EventType
from callbacks.retry import Random, parse_retry_after

TEST_EVENT: Final = "webhook.test"
SCHEDULE_SECONDS: Final = (
    5,
    5 * 60,
    30 * 60,
    2 * 3_600,
    5 * 3_600,
    10 * 3_600,
    14 * 3_600,
    20 * 3_600,
    24 * 3_600,
)
"""Delays after the first failure, the second and so on; after the last one the delivery has failed."""
JITTER: Final = 0.1
"""Each delay is varied by up to this fraction, so that deliveries that failed together are retried apart."""
PROGRESS_DELAYS_SECONDS: Final = (2.0, 10.0)
"""Progress is news for a moment: three tries."""
PROGRESS_LIFETIME_SECONDS: Final = 120.0
"""And for no longer than this: what could not be told by then is dropped, whether or not there is newer news."""
MAX_RETRY_AFTER_SECONDS: Final = 24 * 3_600.0
DISABLED_AFTER_SECONDS: Final = 5 * 24 * 3_600.0
"""An endpoint that has failed for so long, without a success between, is disabled."""
FAILURE_WINDOW_RESET_SECONDS: Final = 36 * 3_600.0
"""Between two failures that are further apart than any schedule puts them, nobody has tried: the days start anew."""

LOCAL_FAULT_PAUSE_SECONDS: Final = 10.0
"""After a failure of this machine, which costs no delivery a try and no endpoint its name."""

_GONE, _TOO_MANY, _UNAVAILABLE = 410, 429, 503


@dataclass(frozen=True)
class AttemptResult:
    """What came of one attempt: an answer, or the reason why there is none."""

    seconds: float
    status: int | None = None
    retry_after: str | None = None
    excerpt: str | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx

    @property
    def is_local_fault(self) -> bool:
        """Nothing was sent, for want of sockets or threads here: the consumer has no part in it."""
        return self.error_code == "local"

    @property
    def is_gone(self) -> bool:
        """The consumer says that it wants no more."""
        return self.status == _GONE


def result_from_response(status: int, seconds: float, after: str | None, excerpt: str) -> AttemptResult:
    """The result that an answer is; anything but 2xx is a failure, and says so."""
    code, message = _meaning(status)
    return AttemptResult(seconds, status, after, excerpt, code, message)


def next_attempt_at(
    kind: str, tries: int, result: AttemptResult, *, now: float, random: Random
) -> float | None:
    """When to try again after the `tries`-th failure, in seconds since the epoch; None when it is over.

    An answer of 429 or 503 may ask for more time than the schedule gives, and never gets less.
    """
    if result.is_local_fault:
        return now + LOCAL_FAULT_PAUSE_SECONDS
    delay = _delay(kind, tries, random)
    if delay is None:
        return None
    if result.status in (_TOO_MANY, _UNAVAILABLE):
        asked = parse_retry_after(result.retry_after, now=now, max_seconds=MAX_RETRY_AFTER_SECONDS)
        delay = max(delay, asked or 0.0)
    if kind == EventType.PROGRESS and delay > PROGRESS_LIFETIME_SECONDS:
        return None
    return now + delay


def next_delivery_delay(attempt: int, random: Random) -> float | None:
    """Return the seconds until the attempt after the `attempt`-th failure, from 1; None after the last."""
    if attempt < 1:
        raise ValueError("attempts count from 1")
    if attempt > len(SCHEDULE_SECONDS):
        return None
    return SCHEDULE_SECONDS[attempt - 1] * (1 - JITTER + 2 * JITTER * random())


def _delay(kind: str, tries: int, random: Random) -> float | None:
    if kind == TEST_EVENT:
        return None  # whoever tests an endpoint is looking at it
    if kind == EventType.PROGRESS:
        left = PROGRESS_DELAYS_SECONDS[tries - 1 :]
        return left[0] if left else None
    return next_delivery_delay(tries, random)


def _meaning(status: int) -> tuple[str | None, str | None]:
    if 200 <= status < 300:  # noqa: PLR2004
        return None, None
    if 300 <= status < 400:  # noqa: PLR2004
        return "redirect", f"The endpoint answered {status}; redirects are not followed."
    if status == _GONE:
        return "gone", "The endpoint answered 410: it wants no more."
    return "status", f"The endpoint answered {status}."
