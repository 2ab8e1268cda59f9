"""Callbacks into PostgreSQL: the ticks of a batch in one statement of many rows, its terminal changes one by one.

The statements are those of `service.progress.sqlite`, word for word but for what the two databases spell differently.
"""

from collections.abc import Sequence
from typing import Any

from infra.postgresql import positional
from service.jobs import as_job, transition
from service.progress import sqlite
from service.progress.changes import Applied, Change, Outcome, refused_as, rounds, values_of

_COLUMNS = {
    "job_id": "text",
    "attempt": "int",
    "run": "text",
    "step": "int",
    "call_id": "text",
    "phase": "text",
    "progress": "float8",
    "message": "text",
    "eta_seconds": "float8",
    "now": "float8",
}
_ROWS = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_COLUMNS.values(), 1))

# Rows are locked in one order by all replicas, so that two batches can't wait for each other.
_ADVANCE_ALL = f"""
WITH told AS (SELECT * FROM unnest({_ROWS}) AS told ({", ".join(_COLUMNS)})),
locked AS (SELECT job_id FROM export_jobs WHERE job_id IN (SELECT job_id FROM told) ORDER BY job_id FOR UPDATE)
UPDATE export_jobs AS job SET
    transition_sequence = CASE WHEN job.phase <> told.phase OR job.status = 'pending' THEN job.sequence + 1
        ELSE job.transition_sequence END,
    status = 'processing', phase = told.phase, progress = greatest(job.progress, told.progress),
    message = told.message, eta_seconds = told.eta_seconds, started_at = coalesce(job.started_at, told.now),
    sequence = job.sequence + 1, run = told.run, step = told.step, call_id = told.call_id, heartbeat_at = told.now,
    lease_until = NULL
FROM told JOIN locked USING (job_id)
WHERE job.job_id = told.job_id AND job.attempt = told.attempt
    AND (job.run < told.run OR (job.run = told.run AND job.step < told.step))
    AND job.status IN ('pending', 'processing')
RETURNING job.*
"""  # noqa: S608 - made of constants

_STANDING = (
    "SELECT job_id, attempt, run, step, sequence, status FROM export_jobs WHERE job_id = ANY($1::text[])"
)


_COMPLETE = positional(sqlite.COMPLETE)
_FAIL = positional(sqlite.FAIL)
_TRY_AGAIN = positional(sqlite.TRY_AGAIN)
_RECORD = positional(sqlite.RECORD)


async def apply_all(connection: Any, changes: Sequence[Change]) -> tuple[list[Outcome], list[str]]:
    """Apply what has gathered within the caller's transaction; the outcomes, and the ids of the jobs changed."""
    outcomes: dict[int, Outcome] = {}
    for indexes in rounds(changes):
        for few in _one_per_job(changes, indexes):
            outcomes |= await _apply(connection, changes, few)
    changed = [
        one.job.job_id for one in outcomes.values() if isinstance(one, Applied) and one.job is not None
    ]
    return [outcomes[index] for index in range(len(changes))], changed


def _one_per_job(changes: Sequence[Change], indexes: Sequence[int]) -> list[list[int]]:
    """The indexes in groups that name each job once, in order: a statement updates a row only once."""
    groups: list[list[int]] = []
    seen: dict[str, int] = {}
    for index in indexes:
        place = seen.get(changes[index].report.job_id, 0)
        seen[changes[index].report.job_id] = place + 1
        if place == len(groups):
            groups.append([])
        groups[place].append(index)
    return groups


async def _apply(connection: Any, changes: Sequence[Change], indexes: Sequence[int]) -> dict[int, Outcome]:
    by_job = {changes[index].report.job_id: index for index in indexes}
    advancing = [index for index in indexes if not changes[index].type.terminal]
    rows = await _advanced(connection, [changes[index] for index in advancing]) if advancing else []
    for index in sorted(set(indexes) - set(advancing)):
        row = await _ended(connection, changes[index])
        rows += [row] if row is not None else []
    outcomes: dict[int, Outcome] = {}
    for row in rows:
        job = as_job(row)
        outcomes[by_job[job.job_id]] = Applied(job.sequence, job)
    await _recorded(connection, changes, outcomes)
    return outcomes | await _refusals(
        connection, changes, [index for index in indexes if index not in outcomes]
    )


async def _advanced(connection: Any, changes: Sequence[Change]) -> list[Any]:
    values = [values_of(change) for change in changes]
    return list(await connection.fetch(_ADVANCE_ALL, *([row[name] for row in values] for name in _COLUMNS)))


async def _ended(connection: Any, change: Change) -> Any:
    values = values_of(change)
    if change.report.output is not None:
        return await _run(connection, _COMPLETE, values)
    assert change.report.error is not None
    again = await _run(connection, _TRY_AGAIN, values) if change.report.error.transient else None
    return again if again is not None else await _run(connection, _FAIL, values)


async def _run(connection: Any, statement: tuple[str, list[str]], values: dict[str, object]) -> Any:
    text, names = statement
    return await connection.fetchrow(text, *(values[name] for name in names))


async def _recorded(connection: Any, changes: Sequence[Change], outcomes: dict[int, Outcome]) -> None:
    text, names = _RECORD
    rows = []
    for index, outcome in outcomes.items():
        job = outcome.job if isinstance(outcome, Applied) else None
        if job is not None and job.transition_sequence == job.sequence:
            recorded = transition(job, changes[index].now)
            rows.append([recorded[name] for name in names])
    if rows:
        await connection.executemany(text, rows)


async def _refusals(connection: Any, changes: Sequence[Change], indexes: Sequence[int]) -> dict[int, Outcome]:
    if not indexes:
        return {}
    found = await connection.fetch(_STANDING, [changes[index].report.job_id for index in indexes])
    standing = {row["job_id"]: row for row in found}
    return {
        index: refused_as(changes[index], standing.get(changes[index].report.job_id)) for index in indexes
    }
