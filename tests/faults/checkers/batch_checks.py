"""Check what batches add up to, and that each was completed once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.faults.checkers.database_reader import FINAL, BatchRow, Row
from tests.faults.checkers.violations import AcceptedBatch, History


def find_wrong_totals(batch: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the `data` of `batch.completed`."""
    name, counts = f"batch {batch['batch_id'][-6:]}", batch["counts"]
    if not set(counts) <= set(FINAL):
        yield f"{name} was completed with {counts}"
    if sum(counts.values()) > batch["total"] or batch["progress"] != 100:
        yield f"{name} does not add up: {batch}"
    if batch["completed_at"] is None:
        yield f"{name} was completed without a time"


def find_open_batches(history: History, stored: Sequence[BatchRow]) -> Iterator[str]:
    """Yield batches that are not complete, or erased and still there."""
    rows = {row.batch_id: row for row in stored}
    for batch_id in history.batches:
        row = rows.get(batch_id)
        if (row is None) != history.is_erased(batch_id):
            yield f"batch {batch_id[-6:]} is erased: {history.is_erased(batch_id)}, and its row is {row}"
        if row is not None and row.completed_at is None:
            yield f"batch {batch_id[-6:]} is not complete: {row}"


def find_wrong_batch(
    batch: AcceptedBatch, shown: Mapping[str, Any], rows: Sequence[Row], history: History
) -> Iterator[str]:
    """Yield differences between a batch as the service shows it and its exports."""
    left = [row for row in rows if row.job_id in batch.job_ids]
    erased = [job_id for job_id in batch.job_ids if history.is_erased(job_id)]
    if shown["total"] != len(batch.job_ids) or len(left) + len(erased) != shown["total"]:
        yield f"of {len(batch.job_ids)} exports {len(left)} are left and {len(erased)} erased: {shown}"
    if shown["counts"] != dict(Counter(row.status for row in left)):
        yield f"the exports are {dict(Counter(row.status for row in left))}, and the batch says {shown}"
    costs = [row.cost_usd for row in left]
    cost = None if None in costs else sum(usd or 0.0 for usd in costs)
    if (cost is None) != (shown["cost_usd"] is None) or abs(
        (cost or 0.0) - (shown["cost_usd"] or 0.0)
    ) > 1e-5:
        yield f"the exports cost {cost}, and the batch says {shown['cost_usd']}"
