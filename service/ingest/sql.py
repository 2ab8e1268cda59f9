"""What callbacks do to rows, in the SQL that both databases speak.

Ticks are nearly all that ever comes, so they have a statement of their own which touches nothing that an index holds:
what a row's place in the indexes depends on is written only when it changes. Both databases do the least work for it:
SQLite leaves its indexes alone, and PostgreSQL puts the new version of the row beside the old one.

A batch of changes lies in `told`, a table of one row for each job; a change that ends an attempt is applied alone, with
its values as `:parameters`, by the same transitions that the service itself makes. Every statement names the job, its
attempt and the step that it must be behind of: the database decides every race.
"""

from service.jobs import transition_sql
from service.jobs.models import Job

# A run says how long it has been at work altogether, and may say so again, or less: what it adds is counted once.
_BEFORE = """
    CASE WHEN export_jobs.run = {of}run THEN export_jobs.gpu_seconds_before ELSE export_jobs.gpu_seconds END
"""
_GPU_SECONDS = f"""
    CASE WHEN {_BEFORE} + {{of}}gpu_seconds > export_jobs.gpu_seconds
        THEN {_BEFORE} + {{of}}gpu_seconds ELSE export_jobs.gpu_seconds END
"""
_HEARD = f"""
    gpu_seconds = {_GPU_SECONDS}, gpu_seconds_before = {_BEFORE},
    run = {{of}}run, step = {{of}}step, reported_call_id = {{of}}call_id, heartbeat_at = {{of}}now
"""
_BEHIND = f"{transition_sql.ATTEMPT} AND {transition_sql.KNOWN_CALL} AND {transition_sql.BEHIND}".format(
    of="told."
)
_ENDED = _HEARD.format(of=":")
_SPENT = f"gpu_seconds = {_GPU_SECONDS}, gpu_seconds_before = {_GPU_SECONDS}".format(of=":")

_ADVANCED = f"""
    progress = CASE WHEN told.progress > export_jobs.progress THEN told.progress ELSE export_jobs.progress END,
    message = told.message, eta_seconds = told.eta_seconds, sequence = export_jobs.sequence + 1, lease_until = NULL,
    finalizer = NULL,
    {_HEARD.format(of="told.")}
    FROM told WHERE {_BEHIND}
"""

TICK = f"""
UPDATE export_jobs SET {_ADVANCED} AND export_jobs.status = 'processing' AND export_jobs.phase = told.phase
RETURNING export_jobs.job_id, export_jobs.user_id, export_jobs.sequence
"""  # noqa: S608 - made of constants, as are all of these

ADVANCE = f"""
UPDATE export_jobs SET
    transition_sequence = CASE WHEN export_jobs.phase <> told.phase OR export_jobs.status = 'pending'
        THEN export_jobs.sequence + 1 ELSE export_jobs.transition_sequence END,
    status = 'processing', phase = told.phase, started_at = coalesce(export_jobs.started_at, told.now),
    {_ADVANCED} AND {transition_sql.ACTIVE}
RETURNING {", ".join(f"export_jobs.{column}" for column in Job.__struct_fields__)}
"""  # noqa: S608

_FOUND = (transition_sql.REPORTED, transition_sql.IS_FINALIZER)
COMPLETE = transition_sql.update(f"{transition_sql.COMPLETE}, {_ENDED}", *_FOUND)
FAIL = transition_sql.update(f"{transition_sql.FAIL}, {_ENDED}", *_FOUND)
TRY_AGAIN = transition_sql.update(f"{transition_sql.REQUEUE}, {_SPENT}", *_FOUND, transition_sql.ALLOWED)

RECORD = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
VALUES (:job_id, :sequence, :at, :attempt, :status, :phase, :progress, :message)
"""

TRIM = {ends: transition_sql.trim_timeline(ends=ends) for ends in (False, True)}

STANDING = "SELECT job_id, attempt, run, step, call_id, sequence, status FROM export_jobs WHERE job_id"
