"""Send one delivery, to a URL or to a listener, and count the results of all attempts of this process."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from infra.database.base import Database
from infra.egress import BlockedURL, EgressClient, Unreachable
from service.metrics.traffic import WebhookMetrics
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.listeners.connections import Listeners
from service.webhooks.listeners.sending import send_to_listener
from service.webhooks.messages.custom_headers import decode_headers, mask_values
from service.webhooks.models import EndpointKind
from service.webhooks.rehearsal.faults import build_test_message, post_message
from service.webhooks.retry_policy import AttemptResult, result_from_response


@dataclass(frozen=True)
class Sender:
    """Sends each delivery to where its endpoint gets it; a listener has `listener_seconds` to answer."""

    egress: EgressClient
    listeners: Listeners
    database: Database
    listener_seconds: float

    async def send(self, claimed: ClaimedDelivery, *, now: float) -> AttemptResult:
        """Sign a delivery as of `now`, send it and return the result."""
        if claimed.endpoint.kind is EndpointKind.URL:
            return await send_to_url(self.egress, claimed, now=now)
        return await send_to_listener(
            self.listeners, self.database, claimed, seconds=self.listener_seconds, now=now
        )


async def send_to_url(egress: EgressClient, claimed: ClaimedDelivery, *, now: float) -> AttemptResult:
    """Post a delivery to the URL of its endpoint."""
    delivery, endpoint = claimed.delivery, claimed.endpoint
    start = time.monotonic()
    message = build_test_message(endpoint, delivery, now=now)
    try:
        response = await post_message(egress, endpoint.url, message, delivery.fault)
    except BlockedURL as error:
        return _result_without_response(start, "forbidden", error.reason)
    except Unreachable as error:
        return _result_without_response(start, error.code, error.message)
    excerpt = mask_values(response.excerpt, decode_headers(endpoint.custom_headers))
    return result_from_response(response.status, response.seconds, response.retry_after, excerpt)


def count_results(
    metrics: WebhookMetrics, finished: Sequence[FinishedAttempt], superseded: int, *, now: float
) -> None:
    """Add the results that a round recorded at `now`; the delay is that of events whose first attempt succeeded."""
    metrics.superseded.inc(superseded)
    for attempt in finished:
        delivery, result = attempt.delivery, attempt.result
        metrics.attempts.labels("delivered" if result.is_delivered else result.error_code or "failed").inc()
        metrics.seconds.observe(result.seconds)
        if result.is_delivered and delivery.attempts == 1:
            metrics.delay.observe(max(0.0, now - delivery.created_at))


def _result_without_response(start: float, code: str, message: str) -> AttemptResult:
    return AttemptResult(time.monotonic() - start, error_code=code, error_message=message)
