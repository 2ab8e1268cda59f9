"""What a callback does to its job's row: one idea, spoken in the SQL of each database."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from infra.database.postgresql import Database, PostgresDatabase
from infra.database.sqlite import ChangedRow
from service.ingest import postgresql, sqlite
from service.ingest.changes import Applied, Change, Outcome
from service.webhooks.outbox import Outbox, PendingEvents


async def write(database: Database, changes: Sequence[Change], outbox: Outbox | None = None) -> list[Outcome]:
    """Apply the changes in one transaction, and write with them what consumers are told; returns after its commit."""
    if isinstance(database, PostgresDatabase):

        async def apply_there(connection: Any) -> tuple[list[Outcome], Iterable[ChangedRow]]:
            outcomes = await postgresql.apply_all(connection, changes)
            untold = _pending_events(changes, outcomes)
            if outbox is not None:
                await outbox.write_on_postgresql(connection, untold)
            return outcomes, untold.owners.items()

        return await database.batch(apply_there)

    def apply_here(connection: sqlite3.Connection) -> list[Outcome]:
        outcomes = sqlite.apply_all(connection, changes)
        if outbox is not None:
            outbox.write_on_sqlite(connection, _pending_events(changes, outcomes))
        return outcomes

    return await database.batch(apply_here)


def select_newest(changes: Iterable[Change], outcomes: Iterable[Outcome]) -> dict[str, Applied]:
    """Of each job that was changed, by id, what became of it last."""
    found: dict[str, Applied] = {}
    for change, outcome in zip(changes, outcomes, strict=True):
        if isinstance(outcome, Applied) and outcome.user_id is not None:
            held = found.get(change.report.job_id)
            if held is None or held.sequence < outcome.sequence:
                found[change.report.job_id] = outcome
    return found


def _pending_events(changes: Sequence[Change], outcomes: Sequence[Outcome]) -> PendingEvents:
    last = select_newest(changes, outcomes)
    moved = [one.job for one in outcomes if isinstance(one, Applied) and one.job is not None]
    return PendingEvents(
        owners={job_id: str(one.user_id) for job_id, one in last.items()},
        jobs=sorted(moved, key=lambda job: job.sequence),
        unread=[job_id for job_id, one in last.items() if one.job is None],
    )
