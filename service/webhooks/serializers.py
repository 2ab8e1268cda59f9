"""Endpoints and deliveries as the API shows them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from service.jobs.serializers import format_timestamp
from service.webhooks.delivery_log import AttemptRows
from service.webhooks.models import Delivery, DeliveryState, Endpoint
from service.webhooks.signing import active_public_keys

EXCERPT_IN_LISTS = 1_024
"""Characters of a response that a list shows; a single delivery shows all that was stored."""


def endpoint_to_dict(endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Return the endpoint as its owner sees it, without its secrets."""
    overlap_end = endpoint.previous_until
    return {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.event_types,
        "job_id": endpoint.job_id,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": format_timestamp(endpoint.disabled_at),
        "failing_since": format_timestamp(endpoint.failing_since),
        "public_key": next(iter(active_public_keys(endpoint, now=0.0)), None),
        "previous_secret_until": format_timestamp(overlap_end)
        if overlap_end and overlap_end > clock()
        else None,
        "created_at": format_timestamp(endpoint.created_at),
    }


def endpoint_to_dict_with_secret(endpoint: Endpoint) -> dict[str, Any]:
    """Return the endpoint with its secret, for the response to its creation or rotation."""
    return endpoint_to_dict(endpoint) | {"secret": endpoint.secret}


def delivery_to_dict(delivery: Delivery, attempts: AttemptRows, *, whole: bool = False) -> dict[str, Any]:
    """Return a delivery and its attempts; `whole` adds the payload and full excerpts."""
    max_excerpt = None if whole else EXCERPT_IN_LISTS
    fields = {
        "delivery_id": delivery.delivery_id,
        "endpoint_id": delivery.endpoint_id,
        "type": delivery.type,
        "job_id": delivery.job_id,
        "sequence": delivery.sequence,
        "state": delivery.state,
        "created_at": format_timestamp(delivery.created_at),
        "ended_at": format_timestamp(delivery.ended_at),
        "next_attempt_at": format_timestamp(delivery.next_at)
        if delivery.state is DeliveryState.PENDING
        else None,
        "attempts": [_attempt_to_dict(row, max_excerpt) for row in attempts.get(delivery.delivery_id, ())],
    }
    return fields | ({"payload": delivery.payload} if whole else {})


def _attempt_to_dict(row: Mapping[str, Any], max_excerpt: int | None) -> dict[str, Any]:
    excerpt = row["excerpt"]
    return {
        "attempt": row["attempt"],
        "at": format_timestamp(row["at"]),
        "seconds": None if row["seconds"] is None else round(row["seconds"], 3),
        "status": row["status"],
        "error": {"code": row["error_code"], "message": row["error_message"]} if row["error_code"] else None,
        "excerpt": excerpt[:max_excerpt] if excerpt is not None else None,
    }
