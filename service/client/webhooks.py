"""Webhooks, as the service offers them: endpoints, their secrets, and the log of what was sent."""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from service.client.http_client import HttpClient

PAGE_LIMIT = 100
LOOK_EVERY_SECONDS = 0.2
LOOK_TIMES = 150


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's URL; the secret is there when it was made just now."""

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


class Fault(msgspec.Struct, frozen=True):
    """Why an attempt failed."""

    code: str
    message: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was made, and what came back."""

    attempt: int
    at: str
    seconds: float | None = None
    status: int | None = None
    error: Fault | None = None
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
    """Some of what was sent, newest first."""

    deliveries: list[Delivery]
    next_cursor: str | None = None


class Recovered(msgspec.Struct, frozen=True):
    """How many deliveries were made."""

    recovered: int


class Webhooks:
    """The caller's endpoints."""

    def __init__(self, calls: HttpClient) -> None:
        self._calls = calls

    def add(self, url: str, *, events: Sequence[str], description: str, ed25519: bool) -> Endpoint:
        """A new endpoint with its secret; asked for once, since a second call would make a second one."""
        body = {"url": url, "description": description, "ed25519": ed25519}
        wanted = {"events": list(events)} if events else {}
        return self._calls.request_json("POST", "/api/webhooks", Endpoint, body=body | wanted, tries=1)

    def all(self) -> Endpoints:
        return self._calls.request_json("GET", "/api/webhooks", Endpoints)

    def enable(self, endpoint_id: str) -> Endpoint:
        return self._calls.request_json("PATCH", _path(endpoint_id), Endpoint, body={"enabled": True})

    def rotate(self, endpoint_id: str) -> Endpoint:
        """The endpoint with its new secret; asked for once, since a second call would make another."""
        return self._calls.request_json("POST", f"{_path(endpoint_id)}/rotate", Endpoint, tries=1)

    def remove(self, endpoint_id: str) -> None:
        self._calls.request("DELETE", _path(endpoint_id))

    def test(self, endpoint_id: str) -> Delivery:
        """Send a test event; its delivery, when it has ended or half a minute has passed."""
        found = self._calls.request_json("POST", f"{_path(endpoint_id)}/test", Delivery, tries=1)
        path = f"{_path(endpoint_id)}/deliveries/{quote(found.delivery_id, safe='')}"
        for _ in range(LOOK_TIMES):
            if found.state != "pending":
                break
            self._calls.sleep(LOOK_EVERY_SECONDS)
            found = self._calls.request_json("GET", path, Delivery)
        return found

    def deliveries(self, endpoint_id: str, limit: int, *, state: str | None) -> Deliveries:
        """What was sent last, newest first."""
        path, query = f"{_path(endpoint_id)}/deliveries", {"state": state} if state else {}
        found: list[Delivery] = []
        while True:
            query["limit"] = str(min(limit - len(found), PAGE_LIMIT))
            page = self._calls.request_json("GET", path, Deliveries, query=query)
            found += page.deliveries
            if len(found) >= limit or page.next_cursor is None:
                return Deliveries(found, page.next_cursor)
            query["cursor"] = page.next_cursor

    def recover(self, endpoint_id: str, since: str) -> Recovered:
        """Send what was missed since a time."""
        return self._calls.request_json(
            "POST", f"{_path(endpoint_id)}/recover", Recovered, body={"since": since}
        )


def _path(endpoint_id: str) -> str:
    return f"/api/webhooks/{quote(endpoint_id, safe='')}"
