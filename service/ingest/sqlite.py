"""Callbacks into SQLite: what advances a batch of jobs in one statement, what ends an attempt one by one."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from service.ingest import sql
from service.ingest.changes import (
    Applied,
    Change,
    Outcome,
    ProgressRow,
    applied_from,
    group_by_job,
    refusal_from,
    to_parameters,
    to_row,
)
from service.jobs.models import Job
from service.jobs.transitions import may_need_trim, to_event_row, to_job

_FIELDS = ProgressRow.__struct_fields__
_ROOM = f"CREATE TEMP TABLE IF NOT EXISTS batch ({', '.join(_FIELDS)})"
_TELL = f"INSERT INTO batch VALUES ({', '.join('?' * len(_FIELDS))})"  # noqa: S608 - made of constants
# The limit is for the planner: a table that it knows nothing of it takes for a long one, and would read all jobs first.
_MOST = 1_000
_TOLD = f"WITH told AS (SELECT * FROM batch LIMIT {_MOST})"  # noqa: S608
_TICK = _TOLD + sql.TICK
_ADVANCE = _TOLD + sql.ADVANCE
_STANDING = f"{sql.STANDING} = ?"

Row = tuple[Any, ...]


def apply_all(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Outcome]:
    """Apply what has gathered within the caller's transaction."""
    outcomes: dict[int, Outcome] = {}
    for group in group_by_job(changes):
        found = _apply(connection, {job_id: changes[index] for job_id, index in group.items()})
        outcomes |= {index: found[job_id] for job_id, index in group.items()}
    return [outcomes[index] for index in range(len(changes))]


def _apply(connection: sqlite3.Connection, changes: Mapping[str, Change]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    found |= _advanced(connection, [change for change in changes.values() if not change.ends_attempt])
    if len(found) == len(changes):
        return found
    for job_id, change in changes.items():
        row = _ended(connection, change) if change.ends_attempt else None
        if row is not None:
            found[job_id] = _recorded(connection, row, change)
        elif job_id not in found:
            found[job_id] = _why_not(connection, change)
    return found


def _advanced(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, Applied]:
    assert len(changes) <= _MOST
    connection.execute(_ROOM)
    connection.executemany(_TELL, [msgspec.structs.astuple(to_row(change)) for change in changes])
    ticked = connection.execute(_TICK).fetchall()
    found = {job_id: Applied(sequence, user_id) for job_id, user_id, sequence in ticked}
    if len(found) < len(changes):
        by_job = {change.report.job_id: change for change in changes}
        for row in connection.execute(_ADVANCE).fetchall():
            found[row[0]] = _recorded(connection, row, by_job[row[0]])
    connection.execute("DELETE FROM batch")
    return found


def _ended(connection: sqlite3.Connection, change: Change) -> Row | None:
    if change.report.output is not None:
        return _run(connection, sql.COMPLETE, change)
    assert change.report.error is not None
    again = _run(connection, sql.TRY_AGAIN, change) if change.report.error.transient else None
    return again or _run(connection, sql.FAIL, change)


def _run(connection: sqlite3.Connection, statement: str, change: Change) -> Row | None:
    row: Row | None = connection.execute(statement, to_parameters(change)).fetchone()
    return row


def _recorded(connection: sqlite3.Connection, row: Row, change: Change) -> Applied:
    job = to_job(dict(zip(Job.__struct_fields__, row, strict=True)))
    if job.transition_sequence == job.sequence:
        connection.execute(sql.RECORD, to_event_row(job, change.now))
        if may_need_trim(job):
            connection.execute(sql.TRIM[job.status.is_final], {"job_id": job.job_id})
    return applied_from(job)


def _why_not(connection: sqlite3.Connection, change: Change) -> Outcome:
    asked = connection.execute(_STANDING, (change.report.job_id,))
    row = asked.fetchone()
    names = [column[0] for column in asked.description]
    return refusal_from(change, dict(zip(names, row, strict=True)) if row else None)
