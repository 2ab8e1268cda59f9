"""What signs a delivery: every secret of its endpoint that is valid now, symmetric and not."""

from callbacks import signing
from service.webhooks import ed25519
from service.webhooks.models import Delivery, Endpoint


def build_headers(endpoint: Endpoint, delivery: Delivery, *, now: float) -> dict[str, str]:
    """The headers of an attempt that is made now: the id is the delivery's, the time and the signatures are its own."""
    timestamp, body = int(now), delivery.payload.encode()
    signatures = [
        signing.sign(signing.decode_secret(secret), delivery.delivery_id, timestamp, body)
        for secret in active_secrets(endpoint, now=now)
    ]
    signatures += [
        ed25519.sign(ed25519.decode_private(key), delivery.delivery_id, timestamp, body)
        for key in active_signing_keys(endpoint, now=now)
    ]
    found = {
        "content-type": "application/json",
        signing.ID_HEADER: delivery.delivery_id,
        signing.TIMESTAMP_HEADER: str(timestamp),
        signing.SIGNATURE_HEADER: " ".join(signatures),
    }
    return found | ({"traceparent": delivery.traceparent} if delivery.traceparent else {})


def active_secrets(endpoint: Endpoint, *, now: float) -> list[str]:
    """The `whsec_…` secrets that sign now, the newest first."""
    return _valid(endpoint, endpoint.secret, endpoint.previous_secret, now)


def active_signing_keys(endpoint: Endpoint, *, now: float) -> list[str]:
    """The `whsk_…` ed25519 keys that sign now, the newest first; none where they were not asked for."""
    return _valid(endpoint, endpoint.signing_key, endpoint.previous_signing_key, now)


def active_public_keys(endpoint: Endpoint, *, now: float) -> list[str]:
    """The `whpk_…` keys that verify what `active_signing_keys` sign."""
    return [
        ed25519.encode_public(ed25519.decode_private(key).public_key())
        for key in active_signing_keys(endpoint, now=now)
    ]


def _valid(endpoint: Endpoint, newest: str | None, previous: str | None, now: float) -> list[str]:
    overlapping = endpoint.previous_until is not None and now < endpoint.previous_until
    return [one for one in (newest, previous if overlapping else None) if one]
