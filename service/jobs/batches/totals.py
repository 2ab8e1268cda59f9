"""What the exports of a batch add up to, and the batch as JSON: the same for REST, streams and webhooks."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypedDict

from infra.database.base import Dialect, Row, to_json_array
from service.jobs.batches.models import ExportBatch
from service.jobs.metadata import MetadataValue, decode_metadata
from service.jobs.models import FINAL
from service.jobs.serializers import format_timestamp

Fetch = Callable[[str, Mapping[str, object]], Awaitable[Sequence[Row]]]
"""Runs a statement with `:names` in the caller's transaction."""

_TOTALS: Final = """
SELECT batch_id, status, count(*) AS exports, sum(progress) AS progress,
    CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END AS cost_usd
FROM export_jobs WHERE batch_id IN (SELECT value FROM {batches}) AND batch_id IS NOT NULL GROUP BY batch_id, status
"""


class Batch(TypedDict):
    """A batch: `total` exports were submitted with it, and `counts` has how many of them are in each status now.

    `progress` is in percent, 100 once all have ended. At `completed_at` all had ended for the first time.
    `cost_usd` is the sum of the exports that are not erased; null if the cost of one is unknown.
    """

    batch_id: str
    name: str | None
    metadata: dict[str, MetadataValue]
    total: int
    counts: dict[str, int]
    progress: float
    cost_usd: float | None
    created_at: str
    completed_at: str | None


@dataclass(frozen=True)
class StatusTotal:
    """The exports of a batch in one status, and the sums of their progress in percent and of their costs.

    `cost_usd` is None if the cost of one is unknown.
    """

    exports: int
    progress: float
    cost_usd: float | None


Totals = Mapping[str, StatusTotal]
"""By status; erased exports are in none."""


async def read_totals(fetch: Fetch, dialect: Dialect, batch_ids: Iterable[str]) -> Mapping[str, Totals]:
    """Return the totals of batches by their ids."""
    totals: dict[str, dict[str, StatusTotal]] = defaultdict(dict)
    for row in await fetch(_totals_statement(dialect), {"batches": to_json_array(batch_ids)}):
        totals[row["batch_id"]][row["status"]] = StatusTotal(row["exports"], row["progress"], row["cost_usd"])
    return totals


def batch_to_dict(batch: ExportBatch, totals: Totals) -> Batch:
    """Return the batch object of the wire contract."""
    active = {status: total for status, total in totals.items() if status not in FINAL}
    ended = batch.exports - sum(total.exports for total in active.values())
    progress = (100.0 * ended + sum(total.progress for total in active.values())) / batch.exports
    return {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "metadata": decode_metadata(batch.metadata),
        "total": batch.exports,
        "counts": {status: total.exports for status, total in sorted(totals.items())},
        "progress": round(progress, 1),
        "cost_usd": _sum_costs(totals),
        "created_at": format_timestamp(batch.created_at),
        "completed_at": format_timestamp(batch.completed_at or None),  # none if a purge has closed it
    }


def _sum_costs(totals: Totals) -> float | None:
    costs = [total.cost_usd for total in totals.values()]
    return None if None in costs else round(sum(cost or 0.0 for cost in costs), 6)


@cache
def _totals_statement(dialect: Dialect) -> str:
    return _TOTALS.format(batches=dialect.json_rows(":batches"))


def to_batch(row: Mapping[Any, Any]) -> ExportBatch:
    """Convert a row of `export_batches`."""
    return ExportBatch(**dict(row))
