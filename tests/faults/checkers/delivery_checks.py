"""The service's own log of deliveries, held against what the receiver saw and answered."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.webhooks.retry_policy import JITTER, SCHEDULE_SECONDS
from tests.faults.checkers.inbox_checker import Arrival

SLACK_SECONDS = 60.0
"""Longer than a lease, and than a pause after a failure of this machine."""
PROGRESS = "export.progress"
ENDS = {"complete": "export.completed", "error": "export.failed", "cancelled": "export.cancelled"}


@dataclass(frozen=True)
class Sending:
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
class Moment:
    """One row of a job's timeline."""

    sequence: int
    attempt: int
    status: str
    phase: str
    progress: float

    @property
    def event_type(self) -> str:
        """What webhooks call it."""
        started = (self.status, self.phase) == ("processing", "starting")
        return ENDS.get(self.status, "export.started" if started else PROGRESS)


@dataclass(frozen=True)
class Try:
    """A row of the log of attempts."""

    delivery_id: str
    attempt: int
    seconds: float | None
    status: int | None
    error_code: str | None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def interrupted(self) -> bool:
        return self.error_code == "interrupted"

    @property
    def open(self) -> bool:
        """Nothing is said of what came of it."""
        return (self.seconds, self.error_code) == (None, None)


def mistakes(
    sendings: Sequence[Sending], tries: Mapping[str, Sequence[Try]], arrivals: Mapping[str, Sequence[Arrival]]
) -> Iterator[str]:
    """Every sentence of the log that is not true, or is missing."""
    known = {one.delivery_id for one in sendings}
    for delivery_id, seen in arrivals.items():
        if delivery_id not in known:
            yield f"webhook {seen[0]} was received, and the log knows nothing of it"
    newest: dict[tuple[str, str], int] = {}
    for one in sendings:
        key = (one.endpoint_id, one.job_id)
        newest[key] = max(newest.get(key, 0), one.sequence)
    for one in sendings:
        logged, seen = tries.get(one.delivery_id, ()), arrivals.get(one.delivery_id, ())
        yield from (f"{one}: {wrong}" for wrong in _of_attempts(one, logged, seen))
        yield from (f"{one}: {wrong}" for wrong in _of_state(one, logged, seen))
        if one.state == "superseded" and newest[one.endpoint_id, one.job_id] <= one.sequence:
            yield f"{one}: it was dropped, and there is nothing newer"


def _of_attempts(one: Sending, logged: Sequence[Try], seen: Sequence[Arrival]) -> Iterator[str]:
    if [each.attempt for each in logged] != list(range(1, one.attempts + 1)):
        yield f"the log shows attempts {[each.attempt for each in logged]} of {one.attempts}"
    if len(seen) > len(logged):
        yield f"{len(seen)} requests came, and {len(logged)} attempts are logged"
    if any(each.body != one.payload.encode() for each in seen):
        yield "something else was sent than what the log shows"
    told = Counter(each.status for each in logged if each.status is not None)
    given = Counter(each.status for each in seen if each.status is not None)
    if told - given:
        yield f"the log shows the answers {dict(told)}, and {dict(given)} were given"
    said = logged[:-1] if one.state == "pending" else logged  # the last one may be under way
    if unsaid := [each.attempt for each in said if each.open]:
        yield f"nothing is said of what came of the attempts {unsaid}"


def _of_state(one: Sending, logged: Sequence[Try], seen: Sequence[Arrival]) -> Iterator[str]:
    taken = any(each.taken for each in logged)
    if (one.state == "delivered") != taken:
        yield f"it is {one.state}, and the log shows {[each.status for each in logged]}"
    if one.state == "delivered" and not any(each.taken for each in seen):
        yield "it was delivered, and nobody has taken it"
    failures = [each for each in logged if not (each.taken or each.interrupted or each.open)]
    if one.tries > len(failures):
        yield f"{one.tries} failures are counted along the schedule, and {len(failures)} are logged"


def waiting_too_long(sendings: Sequence[Sending], now: float) -> Iterator[str]:
    """Deliveries whose next attempt is further ahead than the schedule puts it, by the service's clock."""
    for one in sendings:
        delay = SCHEDULE_SECONDS[max(0, min(one.tries, len(SCHEDULE_SECONDS)) - 1)] * (1 + JITTER)
        ahead = one.next_at - now
        if one.state == "pending" and ahead > delay + SLACK_SECONDS:
            yield f"{one}: the next attempt is {ahead:.0f} s ahead"


def forgotten(
    sendings: Sequence[Sending], endpoint_id: str, job_id: str, moments: Sequence[Moment]
) -> Iterator[str]:
    """What happened and is not in the outbox, and the other way round; progress may be left out."""
    wanted = {moment.sequence: moment.event_type for moment in moments if moment.event_type != PROGRESS}
    found = {
        one.sequence: one.type
        for one in sendings
        if (one.endpoint_id, one.job_id) == (endpoint_id, job_id) and one.type != PROGRESS
    }
    if found != wanted:
        yield f"job {job_id[-6:]}: the timeline says {wanted}, {endpoint_id[-6:]} was to be told {found}"
