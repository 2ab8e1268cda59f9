"""Apply callbacks to jobs: advance a batch of jobs in one statement, end attempts one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from infra.database.base import BatchConnection, Database, Row, StagedTable
from service.costs.control import Cost
from service.ingest import sql
from service.ingest.changes import (
    Applied,
    Change,
    Outcome,
    ProgressRow,
    explain_refusal,
    group_by_job,
    outcome_from,
    to_parameters,
    to_row,
)
from service.jobs.transitions import may_need_trim, to_event_row, to_job


class RefusedRow(msgspec.Struct, frozen=True):
    """A job whose change touched no row."""

    job_id: str


REPORTED = StagedTable("reported", ProgressRow)
REFUSED = StagedTable("refused", RefusedRow)


async def tick_quietly(database: Database, changes: Sequence[Change]) -> dict[str, Applied]:
    """Apply ticks of different jobs by one statement, which is a transaction of its own; return those applied."""
    applied = await database.update(REPORTED, _to_rows(changes), sql.QUIET_TICK)
    return {row[0]: _to_applied(row) for row in applied}


async def apply_all(connection: BatchConnection, changes: Sequence[Change]) -> list[Outcome]:
    """Apply the changes within the caller's batch; return what became of each."""
    outcomes: dict[int, Outcome] = {}
    for group in group_by_job(changes):
        by_job = await _apply_group(connection, {job_id: changes[index] for job_id, index in group.items()})
        outcomes |= {index: by_job[job_id] for job_id, index in group.items()}
    return [outcomes[index] for index in range(len(changes))]


async def _apply_group(connection: BatchConnection, changes: Mapping[str, Change]) -> dict[str, Outcome]:
    """Apply changes of different jobs."""
    outcomes: dict[str, Outcome] = {}
    outcomes |= await _advance_jobs(
        connection, [change for change in changes.values() if not change.ends_attempt]
    )
    if len(outcomes) == len(changes):
        return outcomes
    for job_id, change in changes.items():
        row = await _end_attempt(connection, change) if change.ends_attempt else None
        if row is not None:
            outcomes[job_id] = await _record_event(connection, row, change)
    refused = {job_id: change for job_id, change in changes.items() if job_id not in outcomes}
    return outcomes | await _explain_refusals(connection, refused)


async def _advance_jobs(connection: BatchConnection, changes: Sequence[Change]) -> dict[str, Applied]:
    if not changes:
        return {}
    reported = await connection.stage(REPORTED, _to_rows(changes))
    ticks = await reported.fetch(sql.TICK)
    outcomes = {row[0]: _to_applied(row) for row in ticks}
    if len(outcomes) < len(changes):
        by_job = {change.report.job_id: change for change in changes}
        for row in await reported.fetch(sql.ADVANCE):
            outcomes[row["job_id"]] = await _record_event(connection, row, by_job[row["job_id"]])
    return outcomes


def _to_applied(row: Sequence[Any]) -> Applied:
    """Return the outcome of a tick from what its statement returns."""
    _, user_id, sequence, cost, max_cost, counted = row
    return Applied(sequence, user_id, None, Cost(cost, max_cost, counted))


def _to_rows(changes: Sequence[Change]) -> list[ProgressRow]:
    # The same order in every replica, so that two batches rarely wait for each other's rows in a cycle.
    return sorted(map(to_row, changes), key=lambda row: row.job_id)


async def _end_attempt(connection: BatchConnection, change: Change) -> Row | None:
    values = to_parameters(change)
    if change.report.output is not None:
        return await _fetch_row(connection, sql.COMPLETE, values)
    assert change.report.error is not None
    if change.stops_run:
        return await _fetch_row(connection, sql.STOP, values)
    requeued = await _fetch_row(connection, sql.REQUEUE, values) if change.report.error.transient else None
    return requeued or await _fetch_row(connection, sql.FAIL, values)


async def _fetch_row(connection: BatchConnection, statement: str, values: Mapping[str, object]) -> Row | None:
    rows = await connection.fetch(statement, values)
    return rows[0] if rows else None


async def _record_event(connection: BatchConnection, row: Mapping[Any, Any], change: Change) -> Applied:
    job = to_job(row)
    if job.transition_sequence == job.sequence:
        await connection.execute_many(sql.INSERT_EVENT, [to_event_row(job, change.now)])
        if may_need_trim(job):
            await connection.fetch(sql.TRIM[job.status.is_final], {"job_id": job.job_id})
    return outcome_from(job, stops_run=change.stops_run)


async def _explain_refusals(connection: BatchConnection, changes: Mapping[str, Change]) -> dict[str, Outcome]:
    if not changes:
        return {}
    refused = await connection.stage(REFUSED, list(map(RefusedRow, changes)))
    states = {row["job_id"]: row for row in await refused.fetch(sql.SELECT_STATE)}
    return {job_id: explain_refusal(change, states.get(job_id)) for job_id, change in changes.items()}
