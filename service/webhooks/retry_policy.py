"""Decide what the result of an attempt means and when the delivery is sent again; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from callbacks.envelope import EventType
from callbacks.retry import Random, parse_retry_after

TEST_EVENT: Final = "webhook.test"
NO_LISTENER: Final = "no_listener"
"""Code of an attempt that no listener took: it is no failure, and the next listener gets the delivery."""
NOT_SENT: Final = frozenset({"local", NO_LISTENER})
"""Codes of attempts that never left: this machine has no sockets or threads left, or the listener is gone."""
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
"""Progress is of interest only briefly: three attempts."""
PROGRESS_LIFETIME_SECONDS: Final = 120.0
"""Progress that was not delivered within this time is dropped, even if there is no newer event."""
MAX_RETRY_AFTER_SECONDS: Final = 24 * 3_600.0
DISABLED_AFTER_SECONDS: Final = 5 * 24 * 3_600.0
"""An endpoint that has failed for this long without a success is disabled."""
FAILURE_WINDOW_RESET_SECONDS: Final = 36 * 3_600.0
"""After a pause longer than any delay of the schedule, nothing was sent in between: the failing period starts
again."""
LOCAL_FAULT_PAUSE_SECONDS: Final = 10.0
"""Pause after a failure of this machine, which counts neither as a try nor as a failure of the endpoint."""


class ListenerFault(StrEnum):
    """Why a listener got no response from its receiver."""

    DNS = "dns"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    PROTOCOL = "protocol"
    TLS = "tls"


_GONE, _TOO_MANY, _UNAVAILABLE = 410, 429, 503


@dataclass(frozen=True)
class AttemptResult:
    """Result of one attempt: a response, or the reason why there is none.

    `is_recorded` says that it is stored already, as the outcome that a listener has posted.
    """

    seconds: float
    status: int | None = None
    retry_after: str | None = None
    excerpt: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    is_recorded: bool = False

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx

    @property
    def is_local_fault(self) -> bool:
        """Nothing was sent, which is no failure of the endpoint."""
        return self.error_code in NOT_SENT

    @property
    def is_gone(self) -> bool:
        """The consumer asks for no further events."""
        return self.status == _GONE


def result_from_response(status: int, seconds: float, retry_after: str | None, excerpt: str) -> AttemptResult:
    """Return the result of a response; any status but 2xx is a failure with a code."""
    code, message = _error_from_status(status)
    return AttemptResult(seconds, status, retry_after, excerpt, code, message)


def result_from_log(row: Mapping[str, Any]) -> AttemptResult | None:
    """Return the result in a row of the log; None for an attempt that is open, or was interrupted."""
    if row["seconds"] is None:
        return None
    return AttemptResult(
        row["seconds"],
        row["status"],
        excerpt=row["excerpt"],
        error_code=row["error_code"],
        error_message=row["error_message"],
    )


def next_attempt_at(
    event_type: str, tries: int, result: AttemptResult, *, now: float, random: Random
) -> float | None:
    """Return when to send again after the `tries`-th failure; None after the last.

    In seconds since the epoch. The Retry-After header of a 429 or 503 may make the delay of the schedule longer,
    never shorter.
    """
    if result.error_code == NO_LISTENER:
        return now
    if result.is_local_fault:
        return now + LOCAL_FAULT_PAUSE_SECONDS
    delay = _retry_delay(event_type, tries, random)
    if delay is None:
        return None
    if result.status in (_TOO_MANY, _UNAVAILABLE):
        requested = parse_retry_after(result.retry_after, now=now, max_seconds=MAX_RETRY_AFTER_SECONDS)
        delay = max(delay, requested or 0.0)
    if event_type == EventType.PROGRESS and delay > PROGRESS_LIFETIME_SECONDS:
        return None
    return now + delay


def next_delivery_delay(attempt: int, random: Random) -> float | None:
    """Return the seconds to wait after the `attempt`-th failure, from 1; None after the last."""
    if attempt < 1:
        raise ValueError("attempts count from 1")
    if attempt > len(SCHEDULE_SECONDS):
        return None
    return SCHEDULE_SECONDS[attempt - 1] * (1 - JITTER + 2 * JITTER * random())


def _retry_delay(event_type: str, tries: int, random: Random) -> float | None:
    if event_type == TEST_EVENT:
        return None  # its owner is watching and can send another one
    if event_type == EventType.PROGRESS:
        remaining = PROGRESS_DELAYS_SECONDS[tries - 1 :]
        return remaining[0] if remaining else None
    return next_delivery_delay(tries, random)


def _error_from_status(status: int) -> tuple[str | None, str | None]:
    if 200 <= status < 300:  # noqa: PLR2004
        return None, None
    if 300 <= status < 400:  # noqa: PLR2004
        return (
            "redirect",
            f"The endpoint responded with {status}; redirects are not followed, use the final URL.",
        )
    if status == _GONE:
        return "gone", "The endpoint responded with 410 (Gone), so it receives no further events."
    return "status", f"The endpoint responded with {status}; only 2xx counts as delivered."
