"""Sign deliveries with every active secret and key of their endpoint."""

from callbacks import signing
from service.webhooks import ed25519
from service.webhooks.models import Delivery, Endpoint


def build_headers(endpoint: Endpoint, delivery: Delivery, *, now: float) -> dict[str, str]:
    """Return the headers of an attempt at `now`: id, time, signatures and trace."""
    timestamp, body = int(now), delivery.payload.encode()
    signatures = [
        signing.sign(signing.decode_secret(secret), delivery.delivery_id, timestamp, body)
        for secret in active_secrets(endpoint, now=now)
    ]
    signatures += [
        ed25519.sign(ed25519.decode_private(key), delivery.delivery_id, timestamp, body)
        for key in active_signing_keys(endpoint, now=now)
    ]
    headers = {
        "content-type": "application/json",
        signing.ID_HEADER: delivery.delivery_id,
        signing.TIMESTAMP_HEADER: str(timestamp),
        signing.SIGNATURE_HEADER: " ".join(signatures),
    }
    return headers | ({"traceparent": delivery.traceparent} if delivery.traceparent else {})


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
