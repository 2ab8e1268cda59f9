"""Write a batch of callbacks and the webhook deliveries that follow from it, in one transaction."""

from collections.abc import Iterable, Sequence
from functools import cache

from infra.database.base import BatchConnection, Database, Dialect, to_json_array
from service.costs import usage
from service.ingest.apply import apply_all, tick_quietly
from service.ingest.changes import Applied, Change, Outcome, group_by_job
from service.jobs.batches.completion import CompletedBatch
from service.webhooks.outbox import Outbox, PendingEvents


async def write_ticks(database: Database, changes: Sequence[Change]) -> list[Outcome | None]:
    """Apply the ticks that change their row and nothing else; None for every other change.

    Nearly all changes are such ticks. They need neither a timeline nor deliveries, so one statement does.
    """
    outcomes: list[Outcome | None] = [None] * len(changes)
    first, *_ = group_by_job(changes)
    ticks = {job_id: index for job_id, index in first.items() if changes[index].is_tick}
    if ticks:
        applied = await tick_quietly(database, [changes[index] for index in ticks.values()])
        for job_id, outcome in applied.items():
            outcomes[ticks[job_id]] = outcome
    return outcomes


async def write(database: Database, changes: Sequence[Change], outbox: Outbox | None = None) -> list[Outcome]:
    """Apply the changes, and write usage and deliveries, in one transaction; return after its commit."""

    async def apply(connection: BatchConnection) -> tuple[list[Outcome], Sequence[CompletedBatch]]:
        if database.dialect.row_lock and len(changes) > 1:
            job_ids = {change.report.job_id for change in changes}
            await connection.fetch(_lock_jobs(database.dialect), {"jobs": to_json_array(job_ids)})
        outcomes = await apply_all(connection, changes)
        events = pending_events(changes, outcomes)
        connection.changed_rows.extend(events.owners.items())
        await usage.write_in_batch(connection, events.jobs)
        if outbox is None:
            return outcomes, ()
        return outcomes, await outbox.write_in_batch(connection, database.dialect, events)

    outcomes, completed = await database.batch(apply)
    if outbox is not None:
        outbox.completed_batches += completed
    return outcomes


def select_newest(changes: Iterable[Change], outcomes: Iterable[Outcome | None]) -> dict[str, Applied]:
    """Return the last outcome for each job that was changed, by its id."""
    newest: dict[str, Applied] = {}
    for change, outcome in zip(changes, outcomes, strict=True):
        if isinstance(outcome, Applied) and outcome.user_id is not None:
            previous = newest.get(change.report.job_id)
            if previous is None or previous.sequence < outcome.sequence:
                newest[change.report.job_id] = outcome
    return newest


def pending_events(changes: Sequence[Change], outcomes: Sequence[Outcome]) -> PendingEvents:
    """Return what the outbox has to know of a batch."""
    newest = select_newest(changes, outcomes)
    transitions = [
        outcome.job for outcome in outcomes if isinstance(outcome, Applied) and outcome.job is not None
    ]
    return PendingEvents(
        owners={job_id: str(outcome.user_id) for job_id, outcome in newest.items()},
        jobs=sorted(transitions, key=lambda job: job.sequence),
        unread=[job_id for job_id, outcome in newest.items() if outcome.job is None],
    )


@cache
def _lock_jobs(dialect: Dialect) -> str:
    """Return the statement that locks jobs in the order of their ids, as a purge does: so neither waits in a cycle."""
    jobs = f"SELECT value FROM {dialect.json_rows(':jobs')}"  # noqa: S608 - constants only
    return f"SELECT job_id FROM export_jobs WHERE job_id IN ({jobs}) ORDER BY job_id {dialect.row_lock}"  # noqa: S608
