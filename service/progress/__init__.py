"""What a callback does to its job's row: one idea, spoken in the SQL of each database."""

from collections.abc import Sequence

from infra.postgresql import AnyDatabase, PostgresDatabase
from service.progress import postgresql, sqlite
from service.progress.changes import Applied, Change, Outcome, Refusal, lost_output, recovered
from service.progress.sqlite import apply, apply_all

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


async def write(database: AnyDatabase, changes: Sequence[Change]) -> list[Outcome]:
    """Apply the changes in one transaction; returns after its commit."""
    if isinstance(database, PostgresDatabase):
        return await database.batch(lambda connection: postgresql.apply_all(connection, changes))
    return await database.batch(lambda connection: sqlite.apply_all(connection, changes))
