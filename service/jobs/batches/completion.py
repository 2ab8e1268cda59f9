"""Decide that the last export of a batch has ended, in the transaction that ends it.

No counter could get out of step: a batch is complete when it has no active export left. Two transactions that end the
last two exports would each see the other's as active, so each first locks the row of the batch. The second one gets the
lock after the first has committed, and sees its end. `completed_at` is set once, so a retry completes nothing again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import ChangedRow, Dialect, to_json_array
from service.jobs.batches.models import BATCH_COLUMNS, ExportBatch
from service.jobs.batches.totals import Batch, Fetch, batch_to_dict, read_totals, to_batch
from service.jobs.models import Job

ENDED_BATCHES: Final = "ended_batches"
"""Key in a session's `info`: the batches that have an active export less, though no job was changed."""

# In the order of their ids, so that two transactions never wait for each other.
_LOCK: Final = """
SELECT batch_id FROM export_batches
WHERE batch_id IN (SELECT value FROM {batches}) AND completed_at IS NULL ORDER BY batch_id {lock}
"""
_HAS_ENDED: Final = """batch_id IN (SELECT value FROM {batches}) AND completed_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM export_jobs WHERE export_jobs.batch_id = export_batches.batch_id
        AND export_jobs.batch_id IS NOT NULL AND export_jobs.status IN ('pending', 'processing'))"""
_FIND_ENDED: Final = f"SELECT batch_id FROM export_batches WHERE {_HAS_ENDED}"  # noqa: S608 - constants only
_COMPLETE: Final = f"""
UPDATE export_batches SET completed_at = :now WHERE {_HAS_ENDED} RETURNING {BATCH_COLUMNS}
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class CompletedBatch:
    """A batch whose exports have all ended, and as clients see it."""

    batch: ExportBatch
    data: Batch

    @property
    def batch_id(self) -> str:
        return self.batch.batch_id

    @property
    def user_id(self) -> str:
        return self.batch.user_id

    @property
    def changed_row(self) -> ChangedRow:
        """What the commit announces to the other replicas."""
        return self.batch_id, self.user_id


def list_ended_batches(jobs: Iterable[Job]) -> set[str]:
    """Return the ids of the batches in which one of these jobs has just ended."""
    return {job.batch_id for job in jobs if job.batch_id is not None and job.has_just_ended}


def note_purged(session: AsyncSession, job: Job) -> None:
    """Note in the session that a job is gone, so that the transaction looks whether its batch has ended."""
    if job.batch_id is not None and not job.status.is_final:
        session.info.setdefault(ENDED_BATCHES, set()).add(job.batch_id)


async def complete_batches(
    fetch: Fetch, dialect: Dialect, batch_ids: Iterable[str], *, now: float
) -> list[CompletedBatch]:
    """Complete those of the batches that have no active export left; run it as the last change of a transaction.

    A retry needs no lock, and may commit between two statements. Ends do: so if there is no active export after the
    totals were read, there was none in them.
    """
    lock, find_ended, complete = _statements(dialect)
    locked = await _fetch_ids(fetch, lock, batch_ids)
    batches = await _fetch_ids(fetch, find_ended, locked) if locked else []
    if not batches:
        return []
    totals = await read_totals(fetch, dialect, batches)
    rows = await fetch(complete, {"batches": to_json_array(batches), "now": now})
    completed = list(map(to_batch, rows))
    return [
        CompletedBatch(batch, batch_to_dict(batch, totals.get(batch.batch_id, {}))) for batch in completed
    ]


async def _fetch_ids(fetch: Fetch, statement: str, batch_ids: Iterable[str]) -> list[str]:
    rows = await fetch(statement, {"batches": to_json_array(batch_ids)})
    return [row["batch_id"] for row in rows]


@cache
def _statements(dialect: Dialect) -> tuple[str, str, str]:
    batches = dialect.json_rows(":batches")
    lock = _LOCK.format(batches=batches, lock=dialect.row_lock)
    return lock, _FIND_ENDED.format(batches=batches), _COMPLETE.format(batches=batches)
