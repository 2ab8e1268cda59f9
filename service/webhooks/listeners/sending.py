"""Send a delivery to a connected listener: the place of the HTTP request to a URL."""

import asyncio
from dataclasses import replace

from infra.database.base import Database
from service.webhooks import delivery_log
from service.webhooks.deliveries import ClaimedDelivery
from service.webhooks.listeners.connections import HandedDelivery, Listeners
from service.webhooks.models import Delivery
from service.webhooks.rehearsal.faults import build_test_message
from service.webhooks.retry_policy import AttemptResult, result_from_log


async def send_to_listener(
    listeners: Listeners, database: Database, claimed: ClaimedDelivery, *, seconds: float, now: float
) -> AttemptResult:
    """Sign a delivery as of `now`, hand it to a listener and return what came back within `seconds`."""
    delivery = claimed.delivery
    with listeners.hand_over(delivery, build_test_message(claimed.endpoint, delivery, now=now)) as handed:
        try:
            async with asyncio.timeout(seconds):
                result = await handed.outcome
        except TimeoutError:
            result = None
    if result is not None:
        return result
    # Another replica may have got the outcome; its announcement has no result in it, and may have been lost.
    return await _load_recorded(database, delivery) or _time_out(handed, seconds)


async def _load_recorded(database: Database, delivery: Delivery) -> AttemptResult | None:
    """Return the result that the log has for this attempt; None while it is open."""
    async with database.reading() as session:
        row = await delivery_log.load_attempt(session, delivery.delivery_id, delivery.attempts)
    result = None if row is None else result_from_log(row)
    return None if result is None else replace(result, is_recorded=True)


def _time_out(handed: HandedDelivery, seconds: float) -> AttemptResult:
    """Return the result of an attempt without an outcome.

    Its connection ends: one whose client is gone, such as a laptop that sleeps, would take all further deliveries. A
    client that is there connects again at once.
    """
    if handed.connection is not None:
        handed.connection.close()
    message = f"The listener did not report an outcome within {seconds:g} s."
    return AttemptResult(seconds, error_code="timeout", error_message=message)
