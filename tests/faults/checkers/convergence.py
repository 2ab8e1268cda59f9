"""What readers must know in the end, and since when."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from service.fanout.initial_states import LOOK_BACK_SECONDS
from tests.faults.checkers.database_reader import DatabaseReader, DatabaseUnavailable, Row
from tests.faults.checkers.violations import History
from tests.faults.workload.stream_readers import EventReader, ReconnectingReader

SLACK_SECONDS = 120.0


async def note_open_batches(database: DatabaseReader, user_id: str, history: History) -> None:
    """Note when each batch was last seen without an end."""
    now = time.monotonic()
    with suppress(DatabaseUnavailable):
        for row in await database.fetch_batches(user_id):
            if row.completed_at is None and row.batch_id in history.batches:
                history.batches[row.batch_id].open_at = now


def find_unread(
    reader: ReconnectingReader, rows: Mapping[str, Row], history: History, now: float
) -> Iterator[str]:
    """Yield what a reader does not know yet; `now` is the service's time of day."""
    if reader.job_id is None:
        expected = [
            row for row in rows.values() if not _is_old(row, now) or row.job_id in reader.checker.latest
        ]
        yield from _find_unread_notices(reader, history)
    elif reader.job_id in rows:
        expected = [rows[reader.job_id]]
    else:
        expected = []
        if reader.job_id not in reader.checker.erased:
            yield f"{reader.name} does not know that job {reader.job_id[-6:]} was erased"
    for row in expected:
        # The stream of one export is over with its end, so it does not say that the file expires later.
        knows_end = reader.job_id is not None and reader.checker.knows_end(row)
        if not knows_end and not reader.checker.matches(row):
            held = reader.checker.latest.get(row.job_id, {}).get("sequence")
            yield (
                f"{reader.name} does not know the end of job {row.job_id[-6:]}: it holds {held}, "
                f"the row is at {row.sequence}"
            )


def _is_old(row: Row, now: float) -> bool:
    """Tell whether a stream of all exports may leave out a row when it opens."""
    changed_at = max(row.completed_at or now, row.edited_at or 0.0)
    return changed_at < now - LOOK_BACK_SECONDS + SLACK_SECONDS


def _find_unread_notices(reader: ReconnectingReader, history: History) -> Iterator[str]:
    """Yield erasures and ends of batches that a connection from before has not shown; sockets show exports only."""
    if not isinstance(reader, EventReader):
        return
    for job_id in history.job_ids:
        removal = history.removals.get(job_id)
        was_open = removal is not None and reader.checker.connected_at < removal.asked_at
        if was_open and job_id not in reader.checker.erased:
            yield f"{reader.name} does not know that job {job_id[-6:]} was erased"
    for batch_id, batch in history.batches.items():
        was_open = reader.checker.connected_at < batch.open_at and batch_id not in history.removals
        if was_open and batch_id not in reader.checker.completed_batches:
            yield f"{reader.name} does not know that batch {batch_id[-6:]} is complete"
