"""A span of each attempt to deliver a webhook."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from service.webhooks.deliveries import ClaimedDelivery
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.send import Sender

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


@dataclass(frozen=True)
class TracedSender(Sender):
    """Sends as its base does; receivers get the span of the attempt as `traceparent`, and can continue it."""

    tracing: "Tracing"

    async def send(self, claimed: ClaimedDelivery, *, now: float) -> AttemptResult:
        delivery = claimed.delivery
        attributes: dict[str, str | int | float] = {
            "framehook.delivery_id": delivery.delivery_id,
            "framehook.endpoint_id": delivery.endpoint_id,
            "framehook.event": delivery.type,
            "framehook.job_id": delivery.job_id or "",
            "framehook.attempt": delivery.attempts,
        }
        with self.tracing.span("deliver", delivery.traceparent, attributes, kind="client") as span:
            traced = replace(delivery, traceparent=span.traceparent)
            result = await super().send(ClaimedDelivery(traced, claimed.endpoint), now=now)
            if result.status is not None:
                span.set({"http.response.status_code": result.status})
            if not result.is_delivered:
                span.fail(result.error_code or "failed")
            return result
