"""Endpoints and deliveries as the API shows them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

import msgspec

from service.jobs.models import Status
from service.jobs.serializers import format_timestamp
from service.webhooks.delivery_log import AttemptRows
from service.webhooks.messages.custom_headers import decode_headers
from service.webhooks.messages.rendering import render_body
from service.webhooks.models import Delivery, DeliveryState, Endpoint, EndpointFormat, EndpointKind
from service.webhooks.signing import active_public_keys
from service.webhooks.statistics import EndpointStatistics

EXCERPT_IN_LISTS = 1_024
"""Characters of a response that a list shows; a single delivery shows all that was stored."""


class WebhookFilter(TypedDict, total=False):
    """The conditions of a filter, with metadata as text."""

    status: list[Status]
    type: list[str]
    project_id: str
    metadata: dict[str, str]
    created_after: str
    created_before: str
    batch_id: str


class Webhook(TypedDict):
    """A webhook; `job_id` is set if it belongs to a single export.

    With a `filter` it gets events of the exports only that match it at the time of the event.

    `disabled_reason` is `disabled` (by its owner), `gone` (it responded 410) or `failing` (for days). `public_key` is
    the ed25519 key of its `v1a` signatures. A `listener` has no `url`: it takes its deliveries over a stream, and
    `listened_at` is when one last connected. Until `previous_secret_until` the secret before the rotation signs, too.

    `header_names` are those of its own headers, whose values are never shown. `rate_limit` is in deliveries per second.
    """

    id: str
    kind: EndpointKind
    url: str | None
    description: str
    events: list[str]
    filter: WebhookFilter | None
    format: EndpointFormat
    header_names: list[str]
    rate_limit: float | None
    job_id: str | None
    enabled: bool
    disabled_reason: str | None
    disabled_at: str | None
    failing_since: str | None
    public_key: str | None
    previous_secret_until: str | None
    listened_at: str | None
    created_at: str


class WebhookWithSecret(Webhook):
    """A webhook with its secret, which only the responses to its creation and to a rotation show."""

    secret: str


class WebhookStatistics(TypedDict):
    """How a webhook does: its latest 1,000 attempts since `since`, a day ago, and what waits for it.

    `success_rate` is a fraction of the attempts that have ended. Latencies are those of attempts that got a response.
    `backlog` counts the deliveries that wait, up to 10,000, those in flight and those that wait for a retry included.
    `oldest_waiting_at` is when the oldest of these events occurred, `oldest_waiting_seconds` how long ago that is.
    """

    since: str
    attempts: int
    delivered: int
    success_rate: float | None
    latency_p50_seconds: float | None
    latency_p99_seconds: float | None
    backlog: int
    oldest_waiting_at: str | None
    oldest_waiting_seconds: float | None


class DeliveryFailure(TypedDict):
    """Why an attempt at a delivery failed."""

    code: str
    message: str


class DeliveryAttempt(TypedDict):
    """One request of a delivery: the seconds it took, the status and the start of the body of its response."""

    attempt: int
    at: str
    seconds: float | None
    status: int | None
    error: DeliveryFailure | None
    excerpt: str | None


class WebhookDelivery(TypedDict):
    """One event for one webhook, and each attempt to deliver it; `delivery_id` is its `webhook-id`.

    A test event has no `job_id`; `fault` is what it rehearses.
    """

    delivery_id: str
    endpoint_id: str
    type: str
    job_id: str | None
    sequence: int
    fault: str | None
    state: DeliveryState
    created_at: str
    ended_at: str | None
    next_attempt_at: str | None
    attempts: list[DeliveryAttempt]


class WholeDelivery(WebhookDelivery):
    """A delivery with its payload: the body that is sent, as text."""

    payload: str


def endpoint_to_dict(endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> Webhook:
    """Return the endpoint as its owner sees it, without its secrets."""
    overlap_end = endpoint.previous_until
    return {
        "id": endpoint.endpoint_id,
        "kind": endpoint.kind,
        "url": endpoint.url or None,
        "description": endpoint.description,
        "events": endpoint.event_types,
        "filter": _filter_to_dict(endpoint.export_filter),
        "format": endpoint.format,
        "header_names": sorted(decode_headers(endpoint.custom_headers), key=str.lower),
        "rate_limit": endpoint.rate_limit,
        "job_id": endpoint.job_id,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": format_timestamp(endpoint.disabled_at),
        "failing_since": format_timestamp(endpoint.failing_since),
        "public_key": next(iter(active_public_keys(endpoint, now=0.0)), None),
        "previous_secret_until": format_timestamp(overlap_end)
        if overlap_end and overlap_end > clock()
        else None,
        "listened_at": format_timestamp(endpoint.listened_at),
        "created_at": format_timestamp(endpoint.created_at),
    }


def _filter_to_dict(column: str | None) -> WebhookFilter | None:
    if column is None:
        return None
    conditions = msgspec.json.decode(column)
    times = {
        name: format_timestamp(value) for name, value in conditions.items() if name.startswith("created_")
    }
    return cast(WebhookFilter, conditions | times)


def endpoint_to_dict_with_secret(
    endpoint: Endpoint, *, clock: Callable[[], float] = time.time
) -> WebhookWithSecret:
    """Return the endpoint with its secret, for the response to its creation or rotation."""
    return {**endpoint_to_dict(endpoint, clock=clock), "secret": endpoint.secret}


def statistics_to_dict(statistics: EndpointStatistics, *, now: float) -> WebhookStatistics:
    """Return the figures of an endpoint as of `now`."""
    rate, oldest_at = statistics.success_rate, statistics.oldest_at
    return {
        "since": format_timestamp(statistics.since),
        "attempts": statistics.attempts,
        "delivered": statistics.delivered,
        "success_rate": None if rate is None else round(rate, 4),
        "latency_p50_seconds": _round_seconds(statistics.latency_at(0.5)),
        "latency_p99_seconds": _round_seconds(statistics.latency_at(0.99)),
        "backlog": statistics.backlog,
        "oldest_waiting_at": format_timestamp(oldest_at),
        "oldest_waiting_seconds": None if oldest_at is None else round(max(0.0, now - oldest_at), 3),
    }


def delivery_to_whole_dict(delivery: Delivery, endpoint: Endpoint, attempts: AttemptRows) -> WholeDelivery:
    """Return a delivery with the body that is sent, and its attempts with all that was stored of the responses."""
    payload = render_body(endpoint, delivery).decode()
    return {**delivery_to_dict(delivery, attempts, max_excerpt=None), "payload": payload}


def delivery_to_dict(
    delivery: Delivery, attempts: AttemptRows, *, max_excerpt: int | None = EXCERPT_IN_LISTS
) -> WebhookDelivery:
    """Return a delivery and its attempts."""
    return {
        "delivery_id": delivery.delivery_id,
        "endpoint_id": delivery.endpoint_id,
        "type": delivery.type,
        "job_id": delivery.job_id,
        "sequence": delivery.sequence,
        "fault": delivery.fault,
        "state": delivery.state,
        "created_at": format_timestamp(delivery.created_at),
        "ended_at": format_timestamp(delivery.ended_at),
        "next_attempt_at": format_timestamp(delivery.next_at)
        if delivery.state is DeliveryState.PENDING
        else None,
        "attempts": [_attempt_to_dict(row, max_excerpt) for row in attempts.get(delivery.delivery_id, ())],
    }


def _attempt_to_dict(row: Mapping[str, Any], max_excerpt: int | None) -> DeliveryAttempt:
    excerpt = row["excerpt"]
    return {
        "attempt": row["attempt"],
        "at": format_timestamp(row["at"]),
        "seconds": _round_seconds(row["seconds"]),
        "status": row["status"],
        "error": {"code": row["error_code"], "message": row["error_message"]} if row["error_code"] else None,
        "excerpt": excerpt[:max_excerpt] if excerpt is not None else None,
    }


def _round_seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
