"""The service with one mutation that only days with deaths and long outages reveal."""

import time
from collections.abc import Callable

from sqlalchemy import TextClause, text

from service.webhooks import endpoint_status
from service.webhooks.worker import DeliveryWorker
from tests.faults.cluster import replica_entry
from tests.faults.mutations import send_older_after_newer

_FORGET = text(
    "UPDATE webhook_deliveries SET state = 'failed', ended_at = :now WHERE state = 'pending' AND tries > 0"
)
_HURRY = text(
    "UPDATE webhook_deliveries SET next_at = :now, scheduled_at = :now WHERE state = 'pending' AND tries > 0"
)


def forget_retries() -> None:
    """Lose at a start what an earlier process was to send again, as one that keeps its retries in memory."""
    _run_at_start(_FORGET)


def retry_at_start() -> None:
    """Send at a start everything that has failed before, whenever it is due."""
    _run_at_start(_HURRY)


def disable_after_hours() -> None:
    """Disable an endpoint that has failed for half a day."""
    assert hasattr(endpoint_status, "DISABLED_AFTER_SECONDS")
    vars(endpoint_status)["DISABLED_AFTER_SECONDS"] = 12 * 3_600.0


DAY_MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (forget_retries, retry_at_start, disable_after_hours, send_older_after_newer)
}


def serve(words: list[str]) -> None:
    """Run the service with the mutation that the first word names."""
    mutation, *others = words
    DAY_MUTATIONS[mutation]()
    replica_entry.serve_without_runs(others)


def _run_at_start(statement: TextClause) -> None:
    run = DeliveryWorker.run

    async def run_after(worker: DeliveryWorker) -> None:
        async with worker._database.transaction() as session:
            await session.execute(statement, {"now": time.time()})
        await run(worker)

    DeliveryWorker.run = run_after  # type: ignore[method-assign, assignment]
