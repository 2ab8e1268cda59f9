"""The transitions that end an attempt or begin one, each written once, in the SQL that both databases speak.

What a run reports goes over the driver (`service.ingest.store`), what the service itself finds over SQLAlchemy
(`service.jobs.transitions`). Both run these; they differ in what a row must match, and in what a report adds.
"""

from enum import Enum

from service.jobs.models import COLUMNS

MAX_INTERRUPTIONS = 20
"""How often the service may die under an export: one that brings it down must end some time."""
FIRST_PAUSE_SECONDS = 4.0
LONGEST_PAUSE_SECONDS = 30.0

KEPT_STEPS = 200
KEPT_ENDS = 100
MAX_TIMELINE_ROWS = KEPT_STEPS + KEPT_ENDS

ATTEMPT = "export_jobs.job_id = {of}job_id AND export_jobs.attempt = {of}attempt"
KNOWN_CALL = "(export_jobs.call_id IS NULL OR export_jobs.call_id = {of}call_id)"
BEHIND = "(export_jobs.run < {of}run OR (export_jobs.run = {of}run AND export_jobs.step < {of}step))"
ACTIVE = "export_jobs.status IN ('pending', 'processing')"
IS_FINALIZER = "(CAST(:finalizer AS TEXT) IS NULL OR export_jobs.finalizer = CAST(:finalizer AS TEXT))"
"""What was found while an output was being published counts only while that is still the finder's to do."""

CURRENT = f"{ATTEMPT.format(of=':')} AND {ACTIVE}"
"""The job is active, and in this attempt."""
REPORTED = f"{CURRENT} AND {KNOWN_CALL.format(of=':')} AND {BEHIND.format(of=':')}"
"""The same, and the report is newer than what the row holds, and of the call that the runner started.

A run may report before its call is known: until then any call may.
"""
UNSTARTED = f"{CURRENT} AND export_jobs.status = 'pending' AND export_jobs.call_id IS NULL"
"""The same as the first, and no run of the attempt is known."""
ALLOWED = f"""attempt < attempt_limit + :extra_attempts
    AND interruptions + :extra_interruptions <= {MAX_INTERRUPTIONS}"""
"""The job may have another attempt."""

_NUMBERED = "sequence = sequence + 1, transition_sequence = sequence + 1"
_ENDED = f"{_NUMBERED}, phase = 'done', message = :message, completed_at = :now, eta_seconds = NULL"
_NEXT_ATTEMPT = f"""{_NUMBERED}, status = 'pending', phase = 'queued', progress = 0, attempt = attempt + 1,
    run = '', step = 0, call_id = NULL, reported_call_id = NULL, lease_until = NULL, finalizer = NULL,
    heartbeat_at = NULL, spawned_at = NULL, started_at = NULL, completed_at = NULL, acknowledged_at = NULL,
    eta_seconds = NULL, error_code = NULL, error_message = NULL"""

COMPLETE = f"""{_ENDED}, status = 'complete', progress = 100, lease_until = NULL, finalizer = NULL, output_size = :size,
    output_checksum = :checksum, output_duration = :duration, output_width = :width, output_height = :height,
    started_at = coalesce(started_at, :now)"""
FAIL = f"""{_ENDED}, status = 'error', lease_until = NULL, finalizer = NULL, error_code = :code,
    error_message = :message"""
# A lease under which the output is being put into its place goes on until that has ended.
CANCEL = f"""{_ENDED}, status = 'cancelled',
    lease_until = CASE WHEN phase = 'finalizing' THEN lease_until ELSE NULL END"""
REQUEUE = f"""{_NEXT_ATTEMPT}, message = :requeue_message, not_before = :not_before,
    attempt_limit = attempt_limit + :extra_attempts, interruptions = interruptions + :extra_interruptions"""
RETRY = f"""{_NEXT_ATTEMPT}, message = :message, not_before = 0, attempt_limit = attempt + :attempts,
    interruptions = 0, output_size = NULL, output_checksum = NULL"""


class Charge(Enum):
    """What an attempt that is lost is counted as."""

    FAILURE = (0, 0)
    """The export's own failure, or its run's: it uses up one of the attempts that the export has."""
    INTERRUPTION = (1, 1)
    """The service died under it: it costs the export nothing, but for a limit that only poison reaches."""
    NOTHING = (1, 0)
    """The runner takes nothing now, or the service shuts down: it costs the export nothing at all."""

    @property
    def values(self) -> dict[str, object]:
        """The parameters that this is for `REQUEUE` and `ALLOWED`."""
        attempts, interruptions = self.value
        return {"extra_attempts": attempts, "extra_interruptions": interruptions}


def update(changes: str, *conditions: str) -> str:
    """Return the statement that makes these changes to the job that meets every condition, and returns it."""
    return f"UPDATE export_jobs SET {changes} WHERE {' AND '.join(conditions)} RETURNING {COLUMNS}"  # noqa: S608


def trim_timeline(*, ends: bool) -> str:
    """Return the statement that forgets the oldest rows of a job's timeline: of its ends, or of all others."""
    which, kept = ("IN", KEPT_ENDS) if ends else ("NOT IN", KEPT_STEPS)
    return f"""
        DELETE FROM export_events WHERE job_id = :job_id AND sequence IN (
            SELECT sequence FROM export_events
            WHERE job_id = :job_id AND status {which} ('complete', 'error', 'cancelled')
            ORDER BY sequence DESC LIMIT {MAX_TIMELINE_ROWS} OFFSET {kept})
    """  # noqa: S608


# By whether the rows in question are of ends.
TRIM = {ends: trim_timeline(ends=ends) for ends in (False, True)}

INSERT_EVENT = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
VALUES (:job_id, :sequence, :at, :attempt, :status, :phase, :progress, :message)
"""


def requeue_message(reason: str) -> str:
    """Return what a job shows while it waits for another attempt."""
    return f"{reason} Trying again."


def retry_at(attempt: int, now: float, random: float) -> float:
    """Return when a job may start again after this attempt failed, whoever found that out.

    The pause doubles with each attempt, up to a limit that ends long before its user gives up: attempts count on over
    a user's retries. `random`, from 0 to 1, takes up to half of the pause away, so that jobs which failed together do
    not start together.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE_SECONDS)
    return now + pause * (1 - random / 2)
