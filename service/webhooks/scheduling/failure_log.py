"""Log when an endpoint begins to fail, and when it takes deliveries again: two lines, however many attempts fail."""

import logging

from service.webhooks.models import Endpoint
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.endpoint_health import FAILURES_BEFORE_BACKOFF

logger = logging.getLogger("framehook.webhooks")


def log_turn(endpoint: Endpoint, result: AttemptResult, failures_before: int, failures: int) -> None:
    """Log the result of an attempt if it changes what operators know of the endpoint."""
    if failures_before < FAILURES_BEFORE_BACKOFF <= failures:
        reason = result.error_code if result.status is None else f"status {result.status}"
        logger.warning(
            "%d deliveries to an endpoint have failed in a row: %s",
            failures,
            reason,
            extra=_extra("webhook.failing", endpoint, reason=reason),
        )
    elif failures == 0 and failures_before >= FAILURES_BEFORE_BACKOFF:
        logger.info(
            "an endpoint takes deliveries again, after %d failed attempts",
            failures_before,
            extra=_extra("webhook.recovered", endpoint, failures=failures_before),
        )


def _extra(event: str, endpoint: Endpoint, **fields: object) -> dict[str, object]:
    return {"event": event, "user": endpoint.user_id, "fields": {"endpoint": endpoint.endpoint_id, **fields}}
