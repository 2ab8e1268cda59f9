"""The transitions of a job, each written once, in SQL that both databases understand.

Callbacks run them in batches (`service.ingest`), the service in transactions (`service.jobs.transitions`). A statement
is `update(changes, *guards)`: if the row does not meet every guard, it changes nothing and returns no row, so the
database decides every race. Parameters are `:names`; `{of}` in a guard is replaced by `:` or by the table of a batch.
"""

from functools import cache

import msgspec

from infra.database.base import Dialect
from service.jobs.models import COLUMNS, Job
from service.jobs.retry_rule import MAX_INTERRUPTIONS

KEPT_STEPS = 200
KEPT_ENDS = 100
MAX_TIMELINE_ROWS = KEPT_STEPS + KEPT_ENDS

ATTEMPT = "export_jobs.job_id = {of}job_id AND export_jobs.attempt = {of}attempt"
KNOWN_CALL = "(export_jobs.call_id IS NULL OR export_jobs.call_id = {of}call_id)"
BEHIND = "(export_jobs.run < {of}run OR (export_jobs.run = {of}run AND export_jobs.step < {of}step))"
ACTIVE = "export_jobs.status IN ('pending', 'processing')"
IS_FINALIZER = "(CAST(:finalizer AS TEXT) IS NULL OR export_jobs.finalizer = CAST(:finalizer AS TEXT))"
"""A result of verifying an output counts only while its finalizer still has the lease."""

CURRENT = f"{ATTEMPT.format(of=':')} AND {ACTIVE}"
"""The job is active and in this attempt."""
REPORTED = f"{CURRENT} AND {KNOWN_CALL.format(of=':')} AND {BEHIND.format(of=':')}"
"""CURRENT, and the report is newer than the row and of the call that the runner started.

A run may report before its call is stored: until then a report of any call is taken.
"""
PENDING = f"{CURRENT} AND export_jobs.status = 'pending'"
"""CURRENT, and no run of the attempt has reported that it works."""
UNSTARTED = f"{CURRENT} AND export_jobs.status = 'pending' AND export_jobs.call_id IS NULL"
"""CURRENT, and no run of the attempt is known."""
NO_CALL = "export_jobs.call_id IS NULL"
UNREPORTED = "coalesce(export_jobs.reported_call_id, '') <> :call_id"
"""The call has not reported."""
NO_FINALIZER = "export_jobs.finalizer IS NULL"
OF_USER = "export_jobs.job_id = :job_id AND export_jobs.user_id = :user_id"
RETRYABLE = "export_jobs.status IN ('error', 'cancelled') AND coalesce(export_jobs.lease_until, 0) <= :now"
"""Failed or cancelled, and no earlier output is being moved to its key any more."""
ALLOWED = f"""attempt < attempt_limit + :extra_attempts
    AND interruptions + :extra_interruptions <= {MAX_INTERRUPTIONS}"""
"""The job may have another attempt."""

_NUMBERED = "sequence = sequence + 1, transition_sequence = sequence + 1"
_ENDED = f"{_NUMBERED}, phase = 'done', message = :message, completed_at = :now, eta_seconds = NULL"
# A new attempt resets every column of a job to its default, but for these.
_REQUESTED = {
    *("job_id", "user_id", "type", "config", "input_key", "output_key"),
    *("traceparent", "request_id"),
    *("project_id", "project_number", "project_name", "export_id", "body_hash", "batch_id"),
    *("name", "metadata", "edited_at", "expires_at"),
    *("priority", "queue_time", "start_within_seconds", "deadline_seconds", "max_cost_usd"),
    *("work", "forecast_seconds", "forecast_high_seconds"),
}
_CREATED = {"runner", "created_at"}
_OUTPUT = {"output_size", "output_checksum", "output_duration", "output_width", "output_height"}
_COUNTED = {
    *("gpu_seconds", "gpu_seconds_before", "attempt_limit", "interruptions"),
    *("cost_usd", "counted_gpu_seconds", "counted_usd"),
}
_SET = {
    "first_started_at",
    "limits_since",
    "scheduled_at",
    "status",
    "phase",
    "message",
    "not_before",
    "attempt",
    "sequence",
    "transition_sequence",
}
_LITERALS: dict[object, str] = {None: "NULL", "": "''", 0: "0"}
_RESETS = ", ".join(
    f"{field.name} = {_LITERALS[field.default]}"
    for field in msgspec.structs.fields(Job)
    if field.name not in _REQUESTED | _CREATED | _OUTPUT | _COUNTED | _SET
)
_NEXT_ATTEMPT = f"{_NUMBERED}, status = 'pending', phase = 'queued', attempt = attempt + 1, {_RESETS}"

COMPLETE = f"""{_ENDED}, status = 'complete', progress = 100, lease_until = NULL, finalizer = NULL, output_size = :size,
    output_checksum = :checksum, output_duration = :duration, output_width = :width, output_height = :height,
    started_at = coalesce(started_at, :now)"""
FAIL = f"""{_ENDED}, status = 'error', lease_until = NULL, finalizer = NULL, error_code = :code,
    error_message = :message"""
# A lease under which an output is being moved to its key lasts until that has ended.
CANCEL = f"""{_ENDED}, status = 'cancelled',
    lease_until = CASE WHEN phase = 'finalizing' THEN lease_until ELSE NULL END"""
REQUEUE = f"""{_NEXT_ATTEMPT}, message = :requeue_message, not_before = :not_before,
    first_started_at = coalesce(first_started_at, started_at),
    attempt_limit = attempt_limit + :extra_attempts, interruptions = interruptions + :extra_interruptions"""
RETRY = f"""{_NEXT_ATTEMPT}, message = :message, not_before = 0, limits_since = :now, scheduled_at = NULL,
    first_started_at = NULL, attempt_limit = attempt + :attempts,
    interruptions = 0, output_size = NULL, output_checksum = NULL,
    counted_gpu_seconds = gpu_seconds, counted_usd = coalesce(cost_usd, 0)"""
SPAWN = f"""{_NUMBERED}, status = 'pending', phase = 'starting', progress = 0, message = :message, run = '', step = 0,
    call_id = :call_id, reported_call_id = NULL, eta_seconds = NULL,
    gpu_seconds = gpu_seconds_before, cost_usd = cost_usd - (gpu_seconds - gpu_seconds_before) * usd_per_second,
    started_at = NULL, heartbeat_at = :now, spawned_at = :now, lease_until = NULL, finalizer = NULL"""
# `step` is one less than the report's: a late tick must not undo this, while the report itself still has to be newer.
# `output_size` and `output_checksum`: what has to be deleted if the job ends in another way.
FINALIZE = f"""{_NUMBERED}, status = 'processing', phase = 'finalizing', message = :message,
    gpu_seconds_before = CASE WHEN run = :run THEN gpu_seconds_before ELSE gpu_seconds END,
    run = :run, step = :step - 1, reported_call_id = :call_id, heartbeat_at = :now,
    started_at = coalesce(started_at, :now), lease_until = :lease_until, finalizer = :finalizer,
    output_size = :size, output_checksum = :checksum"""


def update(changes: str, *guards: str) -> str:
    """Return the statement that changes the job if it meets every guard, and returns its row."""
    return f"UPDATE export_jobs SET {changes} WHERE {' AND '.join(guards)} RETURNING {COLUMNS}"  # noqa: S608


def trim_timeline(*, ends: bool) -> str:
    """Return the statement that deletes the oldest rows of a timeline: the ends of attempts, or all others."""
    which, kept = ("IN", KEPT_ENDS) if ends else ("NOT IN", KEPT_STEPS)
    return f"""
        DELETE FROM export_events WHERE job_id = :job_id AND sequence IN (
            SELECT sequence FROM export_events
            WHERE job_id = :job_id AND status {which} ('complete', 'error', 'cancelled')
            ORDER BY sequence DESC LIMIT {MAX_TIMELINE_ROWS} OFFSET {kept})
    """  # noqa: S608


# By whether the rows are ends of the job.
TRIM = {ends: trim_timeline(ends=ends) for ends in (False, True)}

INSERT_EVENT = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
VALUES (:job_id, :sequence, :at, :attempt, :status, :phase, :progress, :message)
"""


@cache
def select_by_ids(dialect: Dialect) -> str:
    """Return the statement that reads the jobs in `:jobs`, a JSON array of ids, on the driver itself."""
    return (
        f"SELECT {COLUMNS} FROM export_jobs WHERE job_id IN (SELECT value FROM {dialect.json_rows(':jobs')})"  # noqa: S608
    )
