"""Compare the service's log of deliveries with what the receiver saw and answered."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.webhooks.retry_policy import JITTER, SCHEDULE_SECONDS
from tests.faults.checkers.inbox_checker import ReceivedWebhook

SLACK_SECONDS = 60.0
"""Longer than a lease, and than a pause after a failure of this machine."""
PROGRESS = "export.progress"
ENDS = {"complete": "export.completed", "error": "export.failed", "cancelled": "export.cancelled"}


@dataclass(frozen=True)
class OutboxRow:
    """A row of the outbox."""

    delivery_id: str
    endpoint_id: str
    job_id: str
    sequence: int
    type: str
    payload: str
    state: str
    tries: int
    attempts: int
    requested: bool
    next_at: float

    def __str__(self) -> str:
        return (
            f"{self.type} {self.sequence} of job {self.job_id[-6:]} ({self.delivery_id[-6:]}, {self.state}, "
            f"{self.tries} tries)"
        )


@dataclass(frozen=True)
class TimelineRow:
    """A row of a job's timeline."""

    sequence: int
    attempt: int
    status: str
    phase: str
    progress: float

    @property
    def event_type(self) -> str:
        """Return the webhook event of this transition."""
        started = (self.status, self.phase) == ("processing", "starting")
        return ENDS.get(self.status, "export.started" if started else PROGRESS)


@dataclass(frozen=True)
class LoggedAttempt:
    """A row of the log of delivery attempts."""

    delivery_id: str
    attempt: int
    seconds: float | None
    status: int | None
    error_code: str | None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def interrupted(self) -> bool:
        return self.error_code == "interrupted"

    @property
    def is_open(self) -> bool:
        """Tell whether the log has no outcome for this attempt."""
        return (self.seconds, self.error_code) == (None, None)


def check_delivery_log(
    outbox: Sequence[OutboxRow],
    attempts: Mapping[str, Sequence[LoggedAttempt]],
    arrivals: Mapping[str, Sequence[ReceivedWebhook]],
) -> Iterator[str]:
    """Yield a sentence for each entry of the log that is wrong or missing."""
    known = {row.delivery_id for row in outbox}
    for delivery_id, received in arrivals.items():
        if delivery_id not in known:
            yield f"webhook {received[0]} was received, and the log knows nothing of it"
    newest: dict[tuple[str, str], int] = {}
    for row in outbox:
        key = (row.endpoint_id, row.job_id)
        newest[key] = max(newest.get(key, 0), row.sequence)
    for row in outbox:
        logged, received = attempts.get(row.delivery_id, ()), arrivals.get(row.delivery_id, ())
        yield from (f"{row}: {wrong}" for wrong in _check_attempts(row, logged, received))
        yield from (f"{row}: {wrong}" for wrong in _check_state(row, logged, received))
        if row.state == "superseded" and newest[row.endpoint_id, row.job_id] <= row.sequence:
            yield f"{row}: it was dropped, and there is nothing newer"


def _check_attempts(
    row: OutboxRow, logged: Sequence[LoggedAttempt], received: Sequence[ReceivedWebhook]
) -> Iterator[str]:
    if [attempt.attempt for attempt in logged] != list(range(1, row.attempts + 1)):
        yield f"the log shows attempts {[attempt.attempt for attempt in logged]} of {row.attempts}"
    if len(received) > len(logged):
        yield f"{len(received)} requests came, and {len(logged)} attempts are logged"
    if any(attempt.body != row.payload.encode() for attempt in received):
        yield "something else was sent than what the log shows"
    logged_statuses = Counter(attempt.status for attempt in logged if attempt.status is not None)
    sent_statuses = Counter(attempt.status for attempt in received if attempt.status is not None)
    if logged_statuses - sent_statuses:
        yield f"the log shows the answers {dict(logged_statuses)}, and {dict(sent_statuses)} were sent_statuses"
    finished = logged[:-1] if row.state == "pending" else logged  # the last one may be in flight
    if unfinished := [attempt.attempt for attempt in finished if attempt.is_open]:
        yield f"nothing is finished of what came of the attempts {unfinished}"


def _check_state(
    row: OutboxRow, logged: Sequence[LoggedAttempt], received: Sequence[ReceivedWebhook]
) -> Iterator[str]:
    accepted = any(attempt.accepted for attempt in logged)
    if (row.state == "delivered") != accepted:
        yield f"it is {row.state}, and the log shows {[attempt.status for attempt in logged]}"
    if row.state == "delivered" and not any(attempt.accepted for attempt in received):
        yield "it was delivered, and no receiver accepted it"
    failures = [
        attempt for attempt in logged if not (attempt.accepted or attempt.interrupted or attempt.is_open)
    ]
    if row.tries > len(failures):
        yield f"{row.tries} failures are counted along the schedule, and {len(failures)} are logged"


def find_late_retries(outbox: Sequence[OutboxRow], now: float) -> Iterator[str]:
    """Yield pending deliveries whose next attempt is later than the schedule allows, by the service's clock."""
    for row in outbox:
        delay = SCHEDULE_SECONDS[max(0, min(row.tries, len(SCHEDULE_SECONDS)) - 1)] * (1 + JITTER)
        ahead = row.next_at - now
        if row.state == "pending" and ahead > delay + SLACK_SECONDS:
            yield f"{row}: the next attempt is {ahead:.0f} s ahead"


def find_lost_events(
    outbox: Sequence[OutboxRow], endpoint_id: str, job_id: str, moments: Sequence[TimelineRow]
) -> Iterator[str]:
    """Yield differences between timeline and outbox; progress may be left out."""
    expected = {moment.sequence: moment.event_type for moment in moments if moment.event_type != PROGRESS}
    written = {
        row.sequence: row.type
        for row in outbox
        if (row.endpoint_id, row.job_id) == (endpoint_id, job_id) and row.type != PROGRESS
    }
    if written != expected:
        yield f"job {job_id[-6:]}: the timeline says {expected}, {endpoint_id[-6:]} was to get {written}"
