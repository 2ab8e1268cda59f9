"""One attempt, and what came of all attempts of this process."""

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
    """Sign it as of `now`, send it, and tell what came of it."""
    delivery, endpoint = claimed.delivery, claimed.endpoint
    began = time.monotonic()
    signed = build_headers(endpoint, delivery, now=now)
    try:
        answer = await egress.post(endpoint.url, body=delivery.payload.encode(), headers=signed)
    except BlockedURL as refused:
        return _without_answer(began, "forbidden", refused.reason)
    except Unreachable as failure:
        return _without_answer(began, failure.code, failure.message)
    return result_from_response(answer.status, answer.seconds, answer.retry_after, answer.excerpt)


@dataclass
class DeliveryMetrics:
    """What this process has sent since its start; `delays` are of events that were taken at the first attempt."""

    delivered: int = 0
    failed: int = 0
    superseded: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * len(DELAY_BUCKETS))
    delays_seconds: float = 0.0

    def count(self, finished: Sequence[FinishedAttempt], superseded: int, *, now: float) -> None:
        """Add what a round has recorded at `now`."""
        delivered = [one.delivery for one in finished if one.result.is_delivered]
        self.delivered += len(delivered)
        self.failed += len(finished) - len(delivered)
        self.superseded += superseded
        for one in delivered:
            if one.attempts == 1:
                delay = max(0.0, now - one.created_at)
                self.delays[bisect_left(DELAY_BUCKETS, delay)] += 1
                self.delays_seconds += delay


def _without_answer(began: float, code: str, message: str) -> AttemptResult:
    return AttemptResult(time.monotonic() - began, error_code=code, error_message=message)
