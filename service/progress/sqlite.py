"""Callbacks into SQLite, in plain SQL, since every tick of every export passes here.

One conditional UPDATE per change: the database decides every race. When it touches no row, one look tells why.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from service.jobs import as_job, transition
from service.models import Job
from service.progress.changes import Applied, Change, Outcome, refused_as, rounds, values_of

COLUMNS = ", ".join(Job.__struct_fields__)

FENCE = """
    sequence = sequence + 1, run = :run, step = :step, call_id = :call_id, heartbeat_at = :now, lease_until = NULL
    WHERE job_id = :job_id AND attempt = :attempt AND (run < :run OR (run = :run AND step < :step))
        AND status IN ('pending', 'processing')
"""

ADVANCE = f"""
UPDATE export_jobs SET
    transition_sequence = CASE WHEN phase <> :phase OR status = 'pending' THEN sequence + 1
        ELSE transition_sequence END,
    status = 'processing', phase = :phase, progress = max(progress, :progress), message = :message,
    eta_seconds = :eta_seconds, started_at = coalesce(started_at, :now), {FENCE} RETURNING {COLUMNS}
"""  # noqa: S608 - made of constants

COMPLETE = f"""
UPDATE export_jobs SET
    transition_sequence = sequence + 1, status = 'complete', phase = 'done', progress = 100, message = :message,
    output_size = :size, output_checksum = :checksum, output_duration = :duration, output_width = :width,
    output_height = :height, completed_at = :now, started_at = coalesce(started_at, :now), eta_seconds = NULL,
    gpu_seconds = gpu_seconds + :gpu_seconds, {FENCE} RETURNING {COLUMNS}
"""  # noqa: S608 - made of constants

FAIL = f"""
UPDATE export_jobs SET
    transition_sequence = sequence + 1, status = 'error', phase = 'done', message = :message,
    error_code = :code, error_message = :message, completed_at = :now, eta_seconds = NULL,
    gpu_seconds = gpu_seconds + :gpu_seconds, {FENCE} RETURNING {COLUMNS}
"""  # noqa: S608 - made of constants

TRY_AGAIN = f"""
UPDATE export_jobs SET
    transition_sequence = sequence + 1, sequence = sequence + 1, status = 'pending', phase = 'queued', progress = 0,
    message = :message, attempt = attempt + 1, run = '', step = 0, call_id = NULL, heartbeat_at = NULL,
    spawned_at = NULL, started_at = NULL, eta_seconds = NULL, lease_until = NULL, not_before = :not_before,
    gpu_seconds = gpu_seconds + :gpu_seconds
    WHERE job_id = :job_id AND attempt = :attempt AND (run < :run OR (run = :run AND step < :step))
        AND status IN ('pending', 'processing')
        AND attempt < attempt_limit
    RETURNING {COLUMNS}
"""  # noqa: S608 - made of constants

RECORD = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
VALUES (:job_id, :sequence, :at, :attempt, :status, :phase, :progress, :message)
"""

_STANDING = ("attempt", "run", "step", "sequence", "status")
STANDING = f"SELECT {', '.join(_STANDING)} FROM export_jobs WHERE job_id = ?"  # noqa: S608 - constants

Row = tuple[Any, ...]


def apply_all(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Outcome]:
    """Apply what has gathered within the caller's transaction; of each attempt's ticks only the newest."""
    outcomes: dict[int, Outcome] = {}
    for indexes in rounds(changes):
        for index in indexes:
            outcomes[index] = apply(connection, changes[index])
    return [outcomes[index] for index in range(len(changes))]


def apply(connection: sqlite3.Connection, change: Change) -> Outcome:
    """Apply one change within the caller's transaction."""
    row = _attempted(connection, change)
    if row is None:
        return _why_not(connection, change)
    job = as_job(dict(zip(Job.__struct_fields__, row, strict=True)))
    if job.transition_sequence == job.sequence:
        connection.execute(RECORD, transition(job, change.now))
    return Applied(job.sequence, job)


def _attempted(connection: sqlite3.Connection, change: Change) -> Row | None:
    if change.report.output is not None:
        return _run(connection, COMPLETE, change)
    if change.report.error is None:
        return _run(connection, ADVANCE, change)
    again = _run(connection, TRY_AGAIN, change) if change.report.error.transient else None
    return again or _run(connection, FAIL, change)


def _run(connection: sqlite3.Connection, statement: str, change: Change) -> Row | None:
    row: Row | None = connection.execute(statement, values_of(change)).fetchone()
    return row


def _why_not(connection: sqlite3.Connection, change: Change) -> Outcome:
    row = connection.execute(STANDING, (change.report.job_id,)).fetchone()
    return refused_as(change, dict(zip(_STANDING, row, strict=True)) if row else None)
