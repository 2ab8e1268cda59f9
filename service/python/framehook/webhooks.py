"""Webhook calls of the API client: endpoints, secrets and the delivery log."""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from framehook.http_client import HttpClient

PAGE_LIMIT = 100
POLL_SECONDS = 0.2
MAX_POLLS = 150


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's URL; `secret` is set only when it has just been created."""

    id: str
    url: str
    description: str = ""
    events: list[str] = []
    enabled: bool = True
    disabled_reason: str | None = None
    disabled_at: str | None = None
    failing_since: str | None = None
    previous_secret_until: str | None = None
    public_key: str | None = None
    created_at: str
    secret: str | None = None


class AttemptError(msgspec.Struct, frozen=True):
    """Why an attempt failed."""

    code: str
    message: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an endpoint, and its response or error."""

    attempt: int
    at: str
    seconds: float | None = None
    status: int | None = None
    error: AttemptError | None = None
    excerpt: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint."""

    delivery_id: str
    type: str
    job_id: str | None = None
    state: str
    created_at: str
    next_attempt_at: str | None = None
    attempts: list[Attempt] = []


class Endpoints(msgspec.Struct, frozen=True):
    """All of a user's endpoints, oldest first."""

    webhooks: list[Endpoint]


class Deliveries(msgspec.Struct, frozen=True):
    """One page of deliveries, newest first."""

    deliveries: list[Delivery]
    next_cursor: str | None = None


class RecoveryResult(msgspec.Struct, frozen=True):
    """How many deliveries were created."""

    recovered: int


class Webhooks:
    """The webhook endpoints of the caller."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def add(self, url: str, *, events: Sequence[str], description: str, ed25519: bool) -> Endpoint:
        """Create an endpoint; sent once, since a second request would create a second one."""
        body = {"url": url, "description": description, "ed25519": ed25519}
        subscription = {"events": list(events)} if events else {}
        return self._http.request_json("POST", "/api/webhooks", Endpoint, body=body | subscription, tries=1)

    def list_all(self) -> Endpoints:
        return self._http.request_json("GET", "/api/webhooks", Endpoints)

    def enable(self, endpoint_id: str) -> Endpoint:
        return self._http.request_json("PATCH", _path(endpoint_id), Endpoint, body={"enabled": True})

    def rotate(self, endpoint_id: str) -> Endpoint:
        """Replace the secret; sent once, since a second request would replace it again."""
        return self._http.request_json("POST", f"{_path(endpoint_id)}/rotate", Endpoint, tries=1)

    def remove(self, endpoint_id: str) -> None:
        self._http.request("DELETE", _path(endpoint_id))

    def test(self, endpoint_id: str) -> Delivery:
        """Send a test event; return its delivery once it has ended, or after half a minute."""
        delivery = self._http.request_json("POST", f"{_path(endpoint_id)}/test", Delivery, tries=1)
        path = f"{_path(endpoint_id)}/deliveries/{quote(delivery.delivery_id, safe='')}"
        for _ in range(MAX_POLLS):
            if delivery.state != "pending":
                break
            self._http.sleep(POLL_SECONDS)
            delivery = self._http.request_json("GET", path, Delivery)
        return delivery

    def deliveries(self, endpoint_id: str, limit: int, *, state: str | None) -> Deliveries:
        """Return the latest deliveries, newest first."""
        path, query = f"{_path(endpoint_id)}/deliveries", {"state": state} if state else {}
        deliveries: list[Delivery] = []
        while True:
            query["limit"] = str(min(limit - len(deliveries), PAGE_LIMIT))
            page = self._http.request_json("GET", path, Deliveries, query=query)
            deliveries += page.deliveries
            if len(deliveries) >= limit or page.next_cursor is None:
                return Deliveries(deliveries, page.next_cursor)
            query["cursor"] = page.next_cursor

    def recover(self, endpoint_id: str, since: str) -> RecoveryResult:
        """Send the final events that the endpoint has not received since a time."""
        return self._http.request_json(
            "POST", f"{_path(endpoint_id)}/recover", RecoveryResult, body={"since": since}
        )


def _path(endpoint_id: str) -> str:
    return f"/api/webhooks/{quote(endpoint_id, safe='')}"
