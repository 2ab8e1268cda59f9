"""Send one delivery, and count the results of all attempts of this process."""

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.egress import BlockedURL, EgressClient, Unreachable
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.retry_policy import AttemptResult, result_from_response
from service.webhooks.signing import build_headers

DELAY_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, math.inf)
"""Upper bounds in seconds."""


async def send_delivery(egress: EgressClient, claimed: ClaimedDelivery, *, now: float) -> AttemptResult:
    """Sign a delivery as of `now`, send it and return the result."""
    delivery, endpoint = claimed.delivery, claimed.endpoint
    start = time.monotonic()
    headers = build_headers(endpoint, delivery, now=now)
    try:
        response = await egress.post(endpoint.url, body=delivery.payload.encode(), headers=headers)
    except BlockedURL as error:
        return _result_without_response(start, "forbidden", error.reason)
    except Unreachable as error:
        return _result_without_response(start, error.code, error.message)
    return result_from_response(response.status, response.seconds, response.retry_after, response.excerpt)


@dataclass
class DeliveryMetrics:
    """Counts since the start of this process.

    `delays` are those of events that were delivered at the first attempt.
    """

    delivered: int = 0
    failed: int = 0
    superseded: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * len(DELAY_BUCKETS))
    delays_seconds: float = 0.0

    def count(self, finished: Sequence[FinishedAttempt], superseded: int, *, now: float) -> None:
        """Add the results that a round recorded at `now`."""
        delivered = [attempt.delivery for attempt in finished if attempt.result.is_delivered]
        self.delivered += len(delivered)
        self.failed += len(finished) - len(delivered)
        self.superseded += superseded
        for delivery in delivered:
            if delivery.attempts == 1:
                delay = max(0.0, now - delivery.created_at)
                self.delays[bisect_left(DELAY_BUCKETS, delay)] += 1
                self.delays_seconds += delay


def _result_without_response(start: float, code: str, message: str) -> AttemptResult:
    return AttemptResult(time.monotonic() - start, error_code=code, error_message=message)
