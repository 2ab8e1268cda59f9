"""The paths of webhooks in the API."""

from typing import Final
from urllib.parse import quote

WEBHOOKS: Final = "/api/webhooks"


def endpoint_path(endpoint_id: str) -> str:
    """Return the path of an endpoint."""
    return f"{WEBHOOKS}/{quote(endpoint_id, safe='')}"


def delivery_path(endpoint_id: str, delivery_id: str) -> str:
    """Return the path of a delivery to an endpoint."""
    return f"{endpoint_path(endpoint_id)}/deliveries/{quote(delivery_id, safe='')}"
