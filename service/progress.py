"""What a callback does to its job's row, in plain SQL, since every tick of every export passes here.

One conditional UPDATE per change: the database decides every race. When it touches no row, one look tells why.
"""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from callbacks.envelope import EventType, Failure, Phase, Report
from service.jobs import as_job, transition
from service.models import Job, Status


class Refusal(StrEnum):
    """Why a change was not applied."""

    UNKNOWN = "unknown"
    OVER = "over"


@dataclass(frozen=True)
class Change:
    """A verified callback, and when it came (seconds since the epoch)."""

    type: EventType
    report: Report
    now: float

    @property
    def tick(self) -> bool:
        return self.type is EventType.PROGRESS


@dataclass(frozen=True)
class Applied:
    """The change is in the row, or was before: the row's sequence, and the row itself if this changed it."""

    sequence: int
    job: Job | None = None


Outcome = Applied | Refusal

_FENCE = """
    sequence = sequence + 1, step = :step, call_id = :call_id, heartbeat_at = :now, lease_until = NULL
    WHERE job_id = :job_id AND attempt = :attempt AND step < :step AND status IN ('pending', 'processing')
"""

_ADVANCE = f"""
UPDATE export_jobs SET
    transition_sequence = CASE WHEN phase <> :phase OR status = 'pending' THEN sequence + 1
        ELSE transition_sequence END,
    status = 'processing', phase = :phase, progress = max(progress, :progress), message = :message,
    eta_seconds = :eta_seconds, started_at = coalesce(started_at, :now), {_FENCE} RETURNING *
"""  # noqa: S608 - made of constants

_COMPLETE = f"""
UPDATE export_jobs SET
    transition_sequence = sequence + 1, status = 'complete', phase = 'done', progress = 100, message = :message,
    output_size = :size, output_checksum = :checksum, output_duration = :duration, output_width = :width,
    output_height = :height, completed_at = :now, started_at = coalesce(started_at, :now), eta_seconds = NULL,
    gpu_seconds = gpu_seconds + :gpu_seconds, {_FENCE} RETURNING *
"""  # noqa: S608 - made of constants

_FAIL = f"""
UPDATE export_jobs SET
    transition_sequence = sequence + 1, status = 'error', phase = 'done', message = :message,
    error_code = :code, error_message = :message, completed_at = :now, eta_seconds = NULL,
    gpu_seconds = gpu_seconds + :gpu_seconds, {_FENCE} RETURNING *
"""  # noqa: S608 - made of constants

_TRY_AGAIN = """
UPDATE export_jobs SET
    transition_sequence = sequence + 1, sequence = sequence + 1, status = 'pending', phase = 'queued', progress = 0,
    message = :message, attempt = attempt + 1, step = 0, call_id = NULL, heartbeat_at = NULL, spawned_at = NULL,
    started_at = NULL, eta_seconds = NULL, lease_until = NULL, not_before = :now + :pause_seconds,
    gpu_seconds = gpu_seconds + :gpu_seconds
    WHERE job_id = :job_id AND attempt = :attempt AND step < :step AND status IN ('pending', 'processing')
        AND attempt < attempt_limit
    RETURNING *
"""

_RECORD = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
VALUES (:job_id, :sequence, :at, :attempt, :status, :phase, :progress, :message)
"""

_STANDING = "SELECT attempt, step, sequence, status FROM export_jobs WHERE job_id = ?"

RETRY_PAUSE_SECONDS = 2.0


def apply(connection: sqlite3.Connection, change: Change) -> Outcome:
    """Apply one change within the caller's transaction."""
    row = _attempted(connection, change)
    if row is None:
        return _why_not(connection, change)
    job = as_job(dict(row))
    if job.transition_sequence == job.sequence:
        connection.execute(_RECORD, transition(job, change.now))
    return Applied(job.sequence, job)


def _attempted(connection: sqlite3.Connection, change: Change) -> sqlite3.Row | None:
    if change.report.output is not None:
        return _run(connection, _COMPLETE, change)
    if change.report.error is None:
        return _run(connection, _ADVANCE, change)
    again = _run(connection, _TRY_AGAIN, change) if change.report.error.transient else None
    return again or _run(connection, _FAIL, change)


def _run(connection: sqlite3.Connection, statement: str, change: Change) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(statement, _values(change)).fetchone()
    return row


def _values(change: Change) -> dict[str, object]:
    report = change.report
    values: dict[str, object] = {
        "job_id": report.job_id,
        "attempt": report.attempt,
        "step": report.step,
        "call_id": report.call_id,
        "phase": report.phase,
        "progress": min(report.progress, 99.9),
        "message": report.message,
        "eta_seconds": report.eta_seconds,
        "gpu_seconds": report.gpu_seconds or 0.0,
        "now": change.now,
        "pause_seconds": RETRY_PAUSE_SECONDS * 2**report.attempt,
    }
    if report.output is not None:
        output = report.output
        values |= {"size": output.size, "checksum": output.checksum, "duration": output.duration}
        values |= {"width": output.width, "height": output.height}
    if report.error is not None:
        values |= {"code": report.error.code, "message": report.error.message}
    return values


def _why_not(connection: sqlite3.Connection, change: Change) -> Outcome:
    row = connection.execute(_STANDING, (change.report.job_id,)).fetchone()
    if row is None:
        return Refusal.UNKNOWN
    if row["attempt"] != change.report.attempt:
        return Refusal.OVER
    the_end_itself = change.type.terminal and row["step"] == change.report.step
    if Status(row["status"]).final and (row["status"] == Status.CANCELLED or not the_end_itself):
        return Refusal.OVER
    return Applied(row["sequence"])


def lost_output(report: Report) -> Report:
    """The same step, told as the failure that it is: what the run claims to have written is not there."""
    missing = Failure(
        code="output_missing", message="The exported file did not arrive in storage whole.", transient=True
    )
    return Report(
        job_id=report.job_id,
        attempt=report.attempt,
        step=report.step,
        call_id=report.call_id,
        phase=Phase.FINALIZING,
        progress=report.progress,
        message=missing.message,
        gpu_seconds=report.gpu_seconds,
        error=missing,
    )
