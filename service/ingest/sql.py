"""The statements that apply callbacks, in SQL that both databases understand.

Nearly all callbacks are ticks, so they have statements which change no indexed column. SQLite then does not change
its indexes, and PostgreSQL can write the new version of the row to the same page (a HOT update). Indexed columns are
written only by the statements that change them.

The callbacks of a batch are rows of the table `reported`, one for each job. A change that ends an attempt is applied
alone, with `:parameters`, by the transitions that the service itself uses. Every statement names the job, its attempt
and the step that the row must be behind, so the database decides every race.
"""

from callbacks.envelope import EventType
from service.ingest.changes import ProgressRow
from service.jobs import transition_sql
from service.jobs.models import Job

# A run reports its total GPU time, and may repeat it or report less after a restart: what it adds is counted once.
_SECONDS_BEFORE = """
    CASE WHEN export_jobs.run = {of}run THEN export_jobs.gpu_seconds_before ELSE export_jobs.gpu_seconds END
"""
_GPU_SECONDS = f"""
    CASE WHEN {_SECONDS_BEFORE} + {{of}}gpu_seconds > export_jobs.gpu_seconds
        THEN {_SECONDS_BEFORE} + {{of}}gpu_seconds ELSE export_jobs.gpu_seconds END
"""
_COST = f"cost_usd = export_jobs.cost_usd + ({_GPU_SECONDS} - export_jobs.gpu_seconds) * export_jobs.usd_per_second"
_REPORT = f"""
    {_COST}, gpu_seconds = {_GPU_SECONDS}, gpu_seconds_before = {_SECONDS_BEFORE},
    run = {{of}}run, step = {{of}}step, reported_call_id = {{of}}call_id, heartbeat_at = {{of}}now
"""
_IS_NEWER = f"{transition_sql.ATTEMPT} AND {transition_sql.KNOWN_CALL} AND {transition_sql.BEHIND}".format(
    of="reported."
)
_LAST_REPORT = _REPORT.format(of=":")
_CLOSE_GPU_SECONDS = f"{_COST}, gpu_seconds = {_GPU_SECONDS}, gpu_seconds_before = {_GPU_SECONDS}".format(
    of=":"
)

# A field of `ProgressRow` is copied to the column of its name, unless the statements below treat it in their own way.
_TREATED = {"job_id", "attempt", "run", "step", "call_id", "phase", "progress", "gpu_seconds", "now"}
_COPY = ", ".join(
    f"{name} = reported.{name}" for name in ProgressRow.__struct_fields__ if name not in _TREATED
)

_WANTS_PROGRESS = f"webhook_endpoints.events LIKE '%{EventType.PROGRESS}%'"

# Columns that every tick may change.
_PROGRESS = f"""
    progress = CASE WHEN reported.progress > export_jobs.progress THEN reported.progress
        ELSE export_jobs.progress END,
    {_COPY},
    sequence = export_jobs.sequence + 1, lease_until = NULL,
    finalizer = NULL,
    {_REPORT.format(of="reported.")}
    FROM reported WHERE {_IS_NEWER}
"""

# No index is of this expression. So a planner looks the jobs up by their ids, even if it knows nothing of the table.
_STATUS = "(export_jobs.status || '')"

# An endpoint that wants progress has a delivery written for it, in the same transaction.
_HAS_NO_READER = f"""
    NOT EXISTS (SELECT 1 FROM webhook_endpoints
        WHERE webhook_endpoints.job_id = export_jobs.job_id AND enabled AND {_WANTS_PROGRESS})
    AND NOT EXISTS (SELECT 1 FROM webhook_endpoints WHERE webhook_endpoints.job_id IS NULL
        AND webhook_endpoints.user_id = export_jobs.user_id AND enabled AND {_WANTS_PROGRESS})
"""  # noqa: S608 - made of constants, as are all of these


def _tick(guard: str) -> str:
    return f"""
        UPDATE export_jobs SET {_PROGRESS}
            AND {_STATUS} = 'processing' AND export_jobs.phase = reported.phase AND {guard}
        RETURNING export_jobs.job_id, export_jobs.user_id, export_jobs.sequence,
            export_jobs.cost_usd, export_jobs.max_cost_usd, export_jobs.counted_usd
    """  # noqa: S608


TICK = _tick("TRUE")
QUIET_TICK = _tick(_HAS_NO_READER)
"""Changes only jobs whose progress no webhook wants, so that nothing else has to be written with it."""

ADVANCE = f"""
UPDATE export_jobs SET
    transition_sequence = CASE WHEN export_jobs.phase <> reported.phase OR export_jobs.status = 'pending'
        THEN export_jobs.sequence + 1 ELSE export_jobs.transition_sequence END,
    status = 'processing', phase = reported.phase, started_at = coalesce(export_jobs.started_at, reported.now),
    {_PROGRESS} AND {_STATUS} IN ('pending', 'processing')
RETURNING {", ".join(f"export_jobs.{column}" for column in Job.__struct_fields__)}
"""  # noqa: S608

_GUARDS = (transition_sql.REPORTED, transition_sql.IS_FINALIZER)
COMPLETE = transition_sql.update(f"{transition_sql.COMPLETE}, {_LAST_REPORT}", *_GUARDS)
FAIL = transition_sql.update(f"{transition_sql.FAIL}, {_LAST_REPORT}", *_GUARDS)
STOP = transition_sql.update(
    transition_sql.FAIL, transition_sql.CURRENT, "export_jobs.run = :run", transition_sql.NO_FINALIZER
)
"""Ends the export of a run whose last report was stored and has reached a budget."""
REQUEUE = transition_sql.update(
    f"{transition_sql.REQUEUE}, {_CLOSE_GPU_SECONDS}", *_GUARDS, transition_sql.ALLOWED
)

INSERT_EVENT = transition_sql.INSERT_EVENT
TRIM = transition_sql.TRIM

SELECT_STATE = """
SELECT job_id, attempt, run, step, call_id, sequence, status FROM export_jobs
WHERE job_id IN (SELECT job_id FROM refused)
"""
