"""Calls on webhooks: endpoints, secrets and the log of deliveries."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from framehook.http_client import HttpClient
from framehook.options import ignore
from framehook.streams.listener_stream import ListenerStream, OnReady
from framehook.streams.stream_reader import OnDisconnect
from framehook.webhook_models import (
    DeliveriesPage,
    Delivery,
    Endpoint,
    Endpoints,
    EndpointStatistics,
    ListenerDelivery,
    PortalLink,
    PublicKeys,
    RecoveryResult,
    Verification,
)
from framehook.webhook_paths import WEBHOOKS, delivery_path, endpoint_path

PAGE_LIMIT = 100
POLL_SECONDS = 0.2
MAX_POLLS = 150


class AsyncWebhooks:
    """The webhook endpoints of the user."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - its name on the wire
        description: str = "",
        ed25519: bool = False,
        format: str = "standard",  # noqa: A002 - its name on the wire
        headers: Mapping[str, str] | None = None,
        rate_limit: float | None = None,
    ) -> Endpoint:
        """Create an endpoint; only this answer has its `secret`.

        Sent once, since a second request would create a second one. Without `events`, all but progress are sent, and
        without `filter` those of all exports. `format` is standard, cloudevents or slack, `headers` go with each
        request, and `rate_limit` is in deliveries per second.
        """
        body: dict[str, object] = {
            "url": url,
            "description": description,
            "ed25519": ed25519,
            "format": format,
        }
        body |= {} if headers is None else {"headers": dict(headers)}
        body |= {} if rate_limit is None else {"rate_limit": rate_limit}
        body |= {} if events is None else {"events": list(events)}
        body |= {} if filter is None else {"filter": dict(filter)}
        return await self._http.load(Endpoint, "POST", WEBHOOKS, body=body, is_idempotent=False)

    async def create_listener(
        self,
        *,
        events: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - its name on the wire
        description: str = "",
        secret: str | None = None,
    ) -> Endpoint:
        """Create an endpoint without a URL, whose deliveries `listen` yields; only this answer has its `secret`."""
        body: dict[str, object] = {"kind": "listener", "description": description}
        body |= {} if events is None else {"events": [*events]}
        body |= {} if filter is None else {"filter": dict(filter)}
        body |= {} if secret is None else {"secret": secret}
        return await self._http.load(Endpoint, "POST", WEBHOOKS, body=body, is_idempotent=False)

    async def listen(
        self, endpoint_id: str, *, on_ready: OnReady = ignore, on_disconnect: OnDisconnect = ignore
    ) -> AsyncGenerator[ListenerDelivery, None]:
        """Yield the deliveries of a listener, without end; `post_outcome` reports what came back for each.

        Reconnects after lost connections and restarts of the service. `on_ready` is called each time it is connected,
        `on_disconnect` with the reason of each lost connection. Raises Unauthenticated if the token expires and can't
        be renewed, NotFound once the endpoint was deleted, Unreachable after ten minutes without a response.
        """
        stream = ListenerStream(self._http, f"{endpoint_path(endpoint_id)}/listen", on_ready, on_disconnect)
        async with aclosing(stream.read()) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def post_outcome(
        self, endpoint_id: str, delivery: ListenerDelivery, outcome: Mapping[str, Any]
    ) -> Delivery:
        """Report what came back for a delivery: `status` or `error`, `seconds`, `excerpt`, `retry_after`."""
        path = f"{delivery_path(endpoint_id, delivery.delivery_id)}/outcome"
        return await self._http.load(Delivery, "POST", path, body={"attempt": delivery.attempt, **outcome})

    async def list(self) -> tuple[Endpoint, ...]:
        """Return all endpoints, oldest first."""
        return (await self._http.load(Endpoints, "GET", WEBHOOKS)).webhooks

    async def get(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint."""
        return await self._http.load(Endpoint, "GET", endpoint_path(endpoint_id))

    async def update(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - its name on the wire
        description: str | None = None,
        enabled: bool | None = None,
        format: str | None = None,  # noqa: A002 - its name on the wire
        headers: Mapping[str, str | None] | None = None,
        rate_limit: float | None = None,
    ) -> Endpoint:
        """Change what is given; `enabled=True` starts deliveries again, `filter={}` removes the filter.

        Headers that are None are removed, others that the endpoint has stay. `rate_limit=0` removes the limit.
        """
        changes: dict[str, object] = {
            "url": url,
            "events": None if events is None else list(events),
            "filter": None if filter is None else dict(filter),
            "description": description,
            "enabled": enabled,
            "format": format,
            "headers": None if headers is None else dict(headers),
        }
        body = {name: value for name, value in changes.items() if value is not None}
        body |= {} if rate_limit is None else {"rate_limit": rate_limit or None}
        return await self._http.load(Endpoint, "PATCH", endpoint_path(endpoint_id), body=body)

    async def get_statistics(self, endpoint_id: str) -> EndpointStatistics:
        """Return success rate and latencies of the latest attempts, and what waits."""
        return await self._http.load(EndpointStatistics, "GET", f"{endpoint_path(endpoint_id)}/statistics")

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint and its deliveries."""
        await self._http.request("DELETE", endpoint_path(endpoint_id))

    async def rotate_secret(self, endpoint_id: str) -> Endpoint:
        """Replace the secret, which only this answer has; the old one signs for another day.

        Sent once, since a second request would replace it again.
        """
        path = f"{endpoint_path(endpoint_id)}/rotate"
        return await self._http.load(Endpoint, "POST", path, is_idempotent=False)

    async def get_public_keys(self, endpoint_id: str) -> tuple[str, ...]:
        """Return the ed25519 keys that verify `v1a` signatures, newest first; NotFound if the endpoint has none."""
        path = f"{endpoint_path(endpoint_id)}/public-key"
        return (await self._http.load(PublicKeys, "GET", path)).public_keys

    async def diagnose(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        endpoint_id: str | None = None,
        received_at: datetime | None = None,
        expected: str | None = None,
    ) -> Verification:
        """Ask the service whether a message that was received is valid and, if not, why.

        Without `endpoint_id`, its `webhook-id` says which endpoint received it. Its age is checked at
        `received_at`, or else now. `expected` is the signature that the receiver computed.
        """
        message: dict[str, object] = {"headers": dict(headers), "body_base64": b64encode(body).decode()}
        message |= {} if endpoint_id is None else {"id": endpoint_id}
        message |= {} if received_at is None else {"received_at": received_at.astimezone().isoformat()}
        message |= {} if expected is None else {"expected": expected}
        return await self._http.load(Verification, "POST", "/api/webhooks/verify", body=message)

    async def send_test(
        self,
        endpoint_id: str,
        *,
        type: str | None = None,  # noqa: A002 - its name on the wire
        fault: str | None = None,
        export_type: str | None = None,
    ) -> Delivery:
        """Send a test, or a sample of a `type`; return its delivery once it has ended, or after half a minute."""
        fields = {"type": type, "fault": fault, "export_type": export_type}
        body = {name: value for name, value in fields.items() if value is not None}
        path = f"{endpoint_path(endpoint_id)}/test"
        delivery = await self._http.load(Delivery, "POST", path, body=body, is_idempotent=False)
        for _ in range(MAX_POLLS):
            if delivery.state != "pending":
                break
            await self._http.transport.sleep(POLL_SECONDS)
            delivery = await self.get_delivery(endpoint_id, delivery.delivery_id)
        return delivery

    async def list_deliveries(
        self, endpoint_id: str, *, state: str | None = None
    ) -> AsyncGenerator[Delivery, None]:
        """Yield deliveries with their attempts, newest first; pages are loaded as they are needed.

        `state` is pending, delivered, failed or superseded.
        """
        page = await self.list_deliveries_page(endpoint_id, state=state)
        while True:
            for delivery in page.deliveries:
                yield delivery
            if page.next_cursor is None:
                return
            page = await self.list_deliveries_page(endpoint_id, state=state, cursor=page.next_cursor)

    async def list_deliveries_page(
        self,
        endpoint_id: str,
        *,
        state: str | None = None,
        limit: int = PAGE_LIMIT,
        cursor: str | None = None,
    ) -> DeliveriesPage:
        """Return one page of deliveries, newest first; its `next_cursor` leads to the next."""
        query = {"state": state, "limit": limit, "cursor": cursor}
        path = f"{endpoint_path(endpoint_id)}/deliveries"
        return await self._http.load(DeliveriesPage, "GET", path, query=query)

    async def get_delivery(self, endpoint_id: str, delivery_id: str) -> Delivery:
        """Return a delivery with its payload and whole responses."""
        return await self._http.load(Delivery, "GET", delivery_path(endpoint_id, delivery_id))

    async def redeliver(self, endpoint_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again, with the same `webhook-id`."""
        path = f"{delivery_path(endpoint_id, delivery_id)}/redeliver"
        return await self._http.load(Delivery, "POST", path, is_idempotent=False)

    async def recover(self, endpoint_id: str, since: datetime) -> int:
        """Send the final events since a time that the endpoint has not received; return how many."""
        path, body = f"{endpoint_path(endpoint_id)}/recover", {"since": since.astimezone().isoformat()}
        return (await self._http.load(RecoveryResult, "POST", path, body=body)).recovered

    async def create_portal_link(self, expires_in: int = 3_600) -> PortalLink:
        """Return a link to a page on which the user's webhooks are managed; it needs no token for so many seconds."""
        path, body = f"{WEBHOOKS}/portal-link", {"expires_in": expires_in}
        return await self._http.load(PortalLink, "POST", path, body=body, is_idempotent=False)
