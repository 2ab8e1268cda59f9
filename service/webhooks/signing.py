"""Build the request of a delivery, signed with every active secret and key of its endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

from callbacks import signing
from service.webhooks import ed25519
from service.webhooks.messages.custom_headers import decode_headers
from service.webhooks.messages.rendering import render_body, select_content_type
from service.webhooks.models import Delivery, Endpoint, EndpointFormat


@dataclass(frozen=True)
class Message:
    """What an attempt sends."""

    headers: Mapping[str, str]
    body: bytes


def build_message(endpoint: Endpoint, delivery: Delivery, *, now: float) -> Message:
    """Return what an attempt at `now` sends: the body, the owner's headers, id, time, signatures, trace and request.

    Slack verifies no signature, and gets none.
    """
    body = render_body(endpoint, delivery)
    headers = decode_headers(endpoint.custom_headers) | {"content-type": select_content_type(endpoint)}
    if endpoint.format is not EndpointFormat.SLACK:
        headers |= _sign(endpoint, delivery.delivery_id, body, now)
    origin = {"traceparent": delivery.traceparent, "x-request-id": delivery.request_id}
    headers |= {name: value for name, value in origin.items() if value}
    return Message(headers, body)


def _sign(endpoint: Endpoint, delivery_id: str, body: bytes, now: float) -> dict[str, str]:
    timestamp = int(now)
    signatures = [
        signing.sign(signing.decode_secret(secret), delivery_id, timestamp, body)
        for secret in active_secrets(endpoint, now=now)
    ]
    signatures += [
        ed25519.sign(ed25519.decode_private(key), delivery_id, timestamp, body)
        for key in active_signing_keys(endpoint, now=now)
    ]
    return {
        signing.ID_HEADER: delivery_id,
        signing.TIMESTAMP_HEADER: str(timestamp),
        signing.SIGNATURE_HEADER: " ".join(signatures),
    }


def active_secrets(endpoint: Endpoint, *, now: float) -> list[str]:
    """Return the `whsec_…` secrets that sign at `now`, newest first."""
    return _select_active(endpoint, endpoint.secret, endpoint.previous_secret, now)


def active_signing_keys(endpoint: Endpoint, *, now: float) -> list[str]:
    """Return the `whsk_…` ed25519 keys that sign at `now`, newest first."""
    return _select_active(endpoint, endpoint.signing_key, endpoint.previous_signing_key, now)


def active_public_keys(endpoint: Endpoint, *, now: float) -> list[str]:
    """Return the `whpk_…` public keys of the active signing keys."""
    private_keys = map(ed25519.decode_private, active_signing_keys(endpoint, now=now))
    return [ed25519.encode_public(key.public_key()) for key in private_keys]


def _select_active(endpoint: Endpoint, newest: str | None, previous: str | None, now: float) -> list[str]:
    overlaps = endpoint.previous_until is not None and now < endpoint.previous_until
    return [key for key in (newest, previous if overlaps else None) if key]
