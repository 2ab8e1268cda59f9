"""Compare what became of deliveries and endpoints over days with the written rules of retries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.webhooks.retry_policy import DISABLED_AFTER_SECONDS, JITTER, SCHEDULE_SECONDS
from tests.faults.checkers.delivery_checks import PROGRESS, LoggedAttempt, OutboxRow
from tests.faults.days.outages import GONE

SLACK_SECONDS = 1.0


@dataclass(frozen=True)
class EndpointState:
    """What the service says of an endpoint, with times in seconds since the epoch."""

    endpoint_id: str
    created_at: float
    disabled_reason: str | None = None
    disabled_at: float | None = None


def is_given_up_by_rule(row: OutboxRow, endpoint: EndpointState) -> bool:
    """Tell whether a delivery may end without a success: after all attempts, or with its endpoint."""
    return row.state == "failed" and (
        row.tries > len(SCHEDULE_SECONDS) or endpoint.disabled_reason is not None
    )


def find_early_retries(
    outbox: Sequence[OutboxRow], attempts: Mapping[str, Sequence[LoggedAttempt]]
) -> Iterator[str]:
    """Yield attempts that followed a failure sooner than the schedule allows."""
    for row in outbox:
        failures = 0
        for earlier, later in pairwise(attempts.get(row.delivery_id, ())):
            if earlier.interrupted or earlier.is_open or earlier.accepted or row.type == PROGRESS:
                continue
            failures += 1
            shortest = SCHEDULE_SECONDS[min(failures, len(SCHEDULE_SECONDS)) - 1] * (1 - JITTER)
            if later.at - earlier.at < shortest - SLACK_SECONDS:
                yield f"{row}: {later} began {later.at - earlier.at:.0f} s after {earlier}, not {shortest:.0f}"


def find_wrong_disabling(endpoint: EndpointState, attempts: Sequence[LoggedAttempt]) -> Iterator[str]:
    """Yield why an endpoint should not be disabled, or should be; `attempts` are all that were made at it."""
    is_gone = any(attempt.status == GONE for attempt in attempts)
    if is_gone != (endpoint.disabled_reason == "gone"):
        yield f"{endpoint} has answered {'410' if is_gone else 'without 410'}"
    if endpoint.disabled_reason == "failing" and endpoint.disabled_at is not None:
        accepted = [
            attempt.at for attempt in attempts if attempt.accepted and attempt.at < endpoint.disabled_at
        ]
        since = max(accepted, default=endpoint.created_at)
        if endpoint.disabled_at - since < DISABLED_AFTER_SECONDS:
            yield f"{endpoint} was disabled {endpoint.disabled_at - since:.0f} s after a success"
