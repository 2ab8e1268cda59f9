"""Compare the service's log of deliveries with what the receiver saw and answered."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.webhooks.retry_policy import JITTER, SCHEDULE_SECONDS
from tests.faults.checkers.inbox_checker import BATCH_COMPLETED, ERASED, EXPIRED, ReceivedWebhook
from tests.faults.checkers.violations import History

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
    at: float = 0.0  # when it began, in seconds since the epoch

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
    erased: Collection[str] = (),
    *,
    may_succeed_late: bool = False,
) -> Iterator[str]:
    """Yield a sentence for each entry of the log that is wrong or missing.

    `erased` are the ids of erased exports and batches: nothing of theirs has a body any more but `export.erased`.
    With `may_succeed_late`, a success may have replaced a time-out, which is what listeners may report.
    """
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
        is_blank = row.job_id in erased and row.type != ERASED
        wrong = [*_check_attempts(row, logged, received), *_check_body(row, received, is_blank=is_blank)]
        if not is_blank:
            wrong += _check_state(row, logged, received, may_succeed_late=may_succeed_late)
            if row.state == "superseded" and newest[row.endpoint_id, row.job_id] <= row.sequence:
                wrong.append("it was dropped, and there is nothing newer")
        yield from (f"{row}: {sentence}" for sentence in wrong)


def _check_body(row: OutboxRow, received: Sequence[ReceivedWebhook], *, is_blank: bool) -> Iterator[str]:
    if is_blank and row.payload:
        yield f"it was erased, and {len(row.payload)} bytes of its body are left"
    if not is_blank and any(attempt.body != row.payload.encode() for attempt in received):
        yield "something else was sent than what the log shows"


def _check_attempts(
    row: OutboxRow, logged: Sequence[LoggedAttempt], received: Sequence[ReceivedWebhook]
) -> Iterator[str]:
    if [attempt.attempt for attempt in logged] != list(range(1, row.attempts + 1)):
        yield f"the log shows attempts {[attempt.attempt for attempt in logged]} of {row.attempts}"
    if len(received) > len(logged):
        yield f"{len(received)} requests came, and {len(logged)} attempts are logged"
    logged_statuses = Counter(attempt.status for attempt in logged if attempt.status is not None)
    sent_statuses = Counter(attempt.status for attempt in received if attempt.status is not None)
    if logged_statuses - sent_statuses:
        yield f"the log shows the answers {dict(logged_statuses)}, and {dict(sent_statuses)} were sent_statuses"
    finished = logged[:-1] if row.state == "pending" else logged  # the last one may be in flight
    if unfinished := [attempt.attempt for attempt in finished if attempt.is_open]:
        yield f"nothing is finished of what came of the attempts {unfinished}"


def _check_state(
    row: OutboxRow,
    logged: Sequence[LoggedAttempt],
    received: Sequence[ReceivedWebhook],
    *,
    may_succeed_late: bool,
) -> Iterator[str]:
    accepted = any(attempt.accepted for attempt in logged)
    is_sent_again = row.requested and row.state == "pending"  # the request may have come after a success
    if (row.state == "delivered") != accepted and not is_sent_again:
        yield f"it is {row.state}, and the log shows {[attempt.status for attempt in logged]}"
    if row.state == "delivered" and not any(attempt.accepted for attempt in received):
        yield "it was delivered, and no receiver accepted it"
    failures = [
        attempt
        for attempt in logged
        if not (attempt.interrupted or attempt.is_open or (attempt.accepted and not may_succeed_late))
    ]
    if row.tries > len(failures):
        yield f"{row.tries} failures are counted along the schedule, and {len(failures)} are logged"


def find_lost_successes(
    attempts: Mapping[str, Sequence[LoggedAttempt]], confirmed: Mapping[tuple[str, int], float]
) -> Iterator[str]:
    """Yield the successes that the service confirmed to a listener, and that its log doesn't have."""
    for delivery_id, number in confirmed:
        logged = [attempt for attempt in attempts.get(delivery_id, ()) if attempt.attempt == number]
        if not any(attempt.accepted for attempt in logged):
            yield f"delivery {delivery_id[-6:]}: success {number} was confirmed, and the log shows {logged}"


def find_needless_attempts(
    attempts: Mapping[str, Sequence[LoggedAttempt]], confirmed: Mapping[tuple[str, int], float]
) -> Iterator[str]:
    """Yield attempts that began after the service had confirmed a success.

    `confirmed` is when it had at the latest. A success may be reported late: the next attempt begins when no answer
    came in time.
    """
    for delivery_id, logged in attempts.items():
        for earlier, later in pairwise(logged):
            known_at = confirmed.get((delivery_id, earlier.attempt))
            if known_at is not None and later.at > known_at:
                yield f"delivery {delivery_id[-6:]}: attempt {later} followed the success {earlier}"


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
        if (row.endpoint_id, row.job_id) == (endpoint_id, job_id) and row.type not in (PROGRESS, EXPIRED)
    }
    if written != expected:
        yield f"job {job_id[-6:]}: the timeline says {expected}, {endpoint_id[-6:]} was to get {written}"


def find_wrong_erasures(
    outbox: Sequence[OutboxRow], endpoint_id: str, job_ids: Collection[str]
) -> Iterator[str]:
    """Yield erased exports whose last event is not one `export.erased`."""
    for job_id in job_ids:
        rows = [row for row in outbox if (row.endpoint_id, row.job_id) == (endpoint_id, job_id)]
        last = max(rows, key=lambda row: row.sequence, default=None)
        if [row.type for row in rows].count(ERASED) != 1 or last is None or last.type != ERASED:
            yield f"job {job_id[-6:]} was erased, and its deliveries are {list(map(str, rows))}"


def find_unannounced_expiries(
    outbox: Sequence[OutboxRow], endpoint_id: str, job_id: str, steps: Sequence[int]
) -> Iterator[str]:
    """Yield a difference between what was announced of an export's expiry, and the sequences of its steps."""
    announced = [
        row.sequence
        for row in outbox
        if (row.endpoint_id, row.job_id, row.type) == (endpoint_id, job_id, EXPIRED)
    ]
    if sorted(announced) != list(steps):
        yield f"job {job_id[-6:]} had steps {list(steps)} of its expiry, and events announce {announced}"


def find_wrong_batches(outbox: Sequence[OutboxRow], endpoint_id: str, history: History) -> Iterator[str]:
    """Yield batches whose end is not announced by one event; one that was erased may have none."""
    for batch_id in history.batches:
        rows = [row for row in outbox if (row.endpoint_id, row.job_id) == (endpoint_id, batch_id)]
        if len(rows) > 1 or not (rows or batch_id in history.removals):
            yield f"batch {batch_id[-6:]} has {len(rows)} events {BATCH_COMPLETED}"
