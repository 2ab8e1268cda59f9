"""What a callback does to its job's row: one idea, spoken in the SQL of each database."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from infra.postgresql import AnyDatabase, PostgresDatabase
from service.models import Job
from service.progress import postgresql, sqlite
from service.progress.changes import Applied, Change, Outcome, Refusal, lost_output, recovered
from service.progress.sqlite import apply, apply_all
from service.webhooks.outbox import Outbox

__all__ = [
    "Applied",
    "Change",
    "Outcome",
    "Refusal",
    "apply",
    "apply_all",
    "lost_output",
    "recovered",
    "write",
]


async def write(
    database: AnyDatabase, changes: Sequence[Change], outbox: Outbox | None = None
) -> list[Outcome]:
    """Apply the changes in one transaction, and write with them what consumers are told; returns after its commit."""
    if isinstance(database, PostgresDatabase):

        async def apply_there(connection: Any) -> tuple[list[Outcome], list[str]]:
            outcomes, changed = await postgresql.apply_all(connection, changes)
            if outbox is not None:
                await outbox.on_postgresql(connection, _changed(outcomes))
            return outcomes, changed

        return await database.batch(apply_there)

    def apply_here(connection: sqlite3.Connection) -> list[Outcome]:
        outcomes = sqlite.apply_all(connection, changes)
        if outbox is not None:
            outbox.on_sqlite(connection, _changed(outcomes))
        return outcomes

    return await database.batch(apply_here)


def _changed(outcomes: Sequence[Outcome]) -> list[Job]:
    """The jobs as they stand after what was applied, older states before newer ones."""
    found = [one.job for one in outcomes if isinstance(one, Applied) and one.job is not None]
    return sorted(found, key=lambda job: job.sequence)
