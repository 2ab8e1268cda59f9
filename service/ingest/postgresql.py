"""Callbacks into PostgreSQL: what advances a batch of jobs in one statement, what ends an attempt one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from infra.database.postgresql import to_positional
from service.ingest import sql
from service.ingest.changes import (
    Applied,
    Change,
    Outcome,
    applied_from,
    group_by_job,
    refusal_from,
    to_parameters,
    to_row,
)
from service.jobs.transitions import may_need_trim, to_event_row, to_job

# One parameter of JSON costs the driver, and so this process, a third of what an array for each column costs it.
_TOLD = """
WITH told AS (SELECT * FROM json_to_recordset($1) AS told (job_id text, attempt int, run text, step int,
    call_id text, phase text, progress float8, message text, eta_seconds float8, gpu_seconds float8,
    now float8))
"""
_TICK = _TOLD + sql.TICK
_ADVANCE = _TOLD + sql.ADVANCE
_STANDING = f"{sql.STANDING} = ANY($1::text[])"


_COMPLETE = to_positional(sql.COMPLETE)
_FAIL = to_positional(sql.FAIL)
_TRY_AGAIN = to_positional(sql.TRY_AGAIN)
_RECORD = to_positional(sql.RECORD)
_TRIM = {ends: to_positional(statement) for ends, statement in sql.TRIM.items()}


async def apply_all(connection: Any, changes: Sequence[Change]) -> list[Outcome]:
    """Apply what has gathered within the caller's transaction."""
    outcomes: dict[int, Outcome] = {}
    for group in group_by_job(changes):
        found = await _apply(connection, {job_id: changes[index] for job_id, index in group.items()})
        outcomes |= {index: found[job_id] for job_id, index in group.items()}
    return [outcomes[index] for index in range(len(changes))]


async def _apply(connection: Any, changes: Mapping[str, Change]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    found |= await _advanced(connection, [change for change in changes.values() if not change.ends_attempt])
    if len(found) == len(changes):
        return found
    for job_id, change in changes.items():
        row = await _ended(connection, change) if change.ends_attempt else None
        if row is not None:
            found[job_id] = await _recorded(connection, row, change)
    return found | await _refused(
        connection, {job_id: change for job_id, change in changes.items() if job_id not in found}
    )


async def _advanced(connection: Any, changes: Sequence[Change]) -> dict[str, Applied]:
    if not changes:
        return {}
    # In one order in every replica, so that two batches hardly ever wait for each other's rows crosswise.
    rows = msgspec.json.encode(
        sorted((to_row(change) for change in changes), key=lambda row: row.job_id)
    ).decode()
    ticked = await connection.fetch(_TICK, rows)
    found = {job_id: Applied(sequence, user_id) for job_id, user_id, sequence in ticked}
    if len(found) < len(changes):
        by_job = {change.report.job_id: change for change in changes}
        for row in await connection.fetch(_ADVANCE, rows):
            found[row["job_id"]] = await _recorded(connection, row, by_job[row["job_id"]])
    return found


async def _ended(connection: Any, change: Change) -> Any:
    if change.report.output is not None:
        return await _run(connection, _COMPLETE, to_parameters(change))
    assert change.report.error is not None
    again = (
        await _run(connection, _TRY_AGAIN, to_parameters(change)) if change.report.error.transient else None
    )
    return again or await _run(connection, _FAIL, to_parameters(change))


async def _run(connection: Any, statement: tuple[str, list[str]], values: Mapping[str, object]) -> Any:
    text, names = statement
    return await connection.fetchrow(text, *(values[name] for name in names))


async def _recorded(connection: Any, row: Any, change: Change) -> Applied:
    job = to_job(row)
    if job.transition_sequence == job.sequence:
        await _run(connection, _RECORD, to_event_row(job, change.now))
        if may_need_trim(job):
            await _run(connection, _TRIM[job.status.is_final], {"job_id": job.job_id})
    return applied_from(job)


async def _refused(connection: Any, changes: Mapping[str, Change]) -> dict[str, Outcome]:
    if not changes:
        return {}
    standing = {row["job_id"]: row for row in await connection.fetch(_STANDING, list(changes))}
    return {job_id: refusal_from(change, standing.get(job_id)) for job_id, change in changes.items()}
