"""Calls on webhooks for programs without an event loop."""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any

from framehook.async_webhooks import PAGE_LIMIT, AsyncWebhooks
from framehook.options import ignore
from framehook.streams.listener_stream import OnReady
from framehook.streams.stream_reader import OnDisconnect
from framehook.transports.blocking import iterate, run
from framehook.webhook_models import (
    DeliveriesPage,
    Delivery,
    Endpoint,
    EndpointStatistics,
    ListenerDelivery,
    PortalLink,
    Verification,
)


class Webhooks:
    """The webhook endpoints of the user; each method does what that of `AsyncWebhooks` does."""

    def __init__(self, webhooks: AsyncWebhooks) -> None:
        self._client = webhooks

    def create(
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
        """Create an endpoint; only this answer has its `secret`."""
        return run(
            self._client.create(
                url,
                events=events,
                filter=filter,
                description=description,
                ed25519=ed25519,
                format=format,
                headers=headers,
                rate_limit=rate_limit,
            )
        )

    def create_listener(
        self,
        *,
        events: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - its name on the wire
        description: str = "",
        secret: str | None = None,
    ) -> Endpoint:
        """Create an endpoint without a URL, whose deliveries `listen` yields; only this answer has its `secret`."""
        return run(
            self._client.create_listener(events=events, filter=filter, description=description, secret=secret)
        )

    def listen(
        self, endpoint_id: str, *, on_ready: OnReady = ignore, on_disconnect: OnDisconnect = ignore
    ) -> Generator[ListenerDelivery, None, None]:
        """Yield the deliveries of a listener, without end; `post_outcome` reports what came back for each."""
        return iterate(self._client.listen(endpoint_id, on_ready=on_ready, on_disconnect=on_disconnect))

    def post_outcome(
        self, endpoint_id: str, delivery: ListenerDelivery, outcome: Mapping[str, Any]
    ) -> Delivery:
        """Report what came back for a delivery: `status` or `error`, `seconds`, `excerpt`, `retry_after`."""
        return run(self._client.post_outcome(endpoint_id, delivery, outcome))

    def list(self) -> tuple[Endpoint, ...]:
        """Return all endpoints, oldest first."""
        return run(self._client.list())

    def get(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint."""
        return run(self._client.get(endpoint_id))

    def update(
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
        """Change what is given; `enabled=True` starts deliveries again, `filter={}` removes the filter."""
        return run(
            self._client.update(
                endpoint_id,
                url=url,
                events=events,
                filter=filter,
                description=description,
                enabled=enabled,
                format=format,
                headers=headers,
                rate_limit=rate_limit,
            )
        )

    def get_statistics(self, endpoint_id: str) -> EndpointStatistics:
        """Return success rate and latencies of the latest attempts, and what waits."""
        return run(self._client.get_statistics(endpoint_id))

    def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint and its deliveries."""
        return run(self._client.delete(endpoint_id))

    def rotate_secret(self, endpoint_id: str) -> Endpoint:
        """Replace the secret, which only this answer has; the old one signs for another day."""
        return run(self._client.rotate_secret(endpoint_id))

    def get_public_keys(self, endpoint_id: str) -> tuple[str, ...]:
        """Return the ed25519 keys that verify `v1a` signatures, newest first; NotFound if the endpoint has none."""
        return run(self._client.get_public_keys(endpoint_id))

    def diagnose(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        endpoint_id: str | None = None,
        received_at: datetime | None = None,
        expected: str | None = None,
    ) -> Verification:
        """Ask the service whether a message that was received is valid and, if not, why."""
        return run(
            self._client.diagnose(
                headers, body, endpoint_id=endpoint_id, received_at=received_at, expected=expected
            )
        )

    def send_test(
        self,
        endpoint_id: str,
        *,
        type: str | None = None,  # noqa: A002 - its name on the wire
        fault: str | None = None,
        export_type: str | None = None,
    ) -> Delivery:
        """Send a test, or a sample of a `type`; return its delivery once it has ended, or after half a minute."""
        return run(self._client.send_test(endpoint_id, type=type, fault=fault, export_type=export_type))

    def list_deliveries(
        self, endpoint_id: str, *, state: str | None = None
    ) -> Generator[Delivery, None, None]:
        """Yield deliveries with their attempts, newest first; pages are loaded as they are needed."""
        return iterate(self._client.list_deliveries(endpoint_id, state=state))

    def list_deliveries_page(
        self,
        endpoint_id: str,
        *,
        state: str | None = None,
        limit: int = PAGE_LIMIT,
        cursor: str | None = None,
    ) -> DeliveriesPage:
        """Return one page of deliveries, newest first; its `next_cursor` leads to the next."""
        return run(self._client.list_deliveries_page(endpoint_id, state=state, limit=limit, cursor=cursor))

    def get_delivery(self, endpoint_id: str, delivery_id: str) -> Delivery:
        """Return a delivery with its payload and whole responses."""
        return run(self._client.get_delivery(endpoint_id, delivery_id))

    def redeliver(self, endpoint_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again, with the same `webhook-id`."""
        return run(self._client.redeliver(endpoint_id, delivery_id))

    def recover(self, endpoint_id: str, since: datetime) -> int:
        """Send the final events since a time that the endpoint has not received; return how many."""
        return run(self._client.recover(endpoint_id, since))

    def create_portal_link(self, expires_in: int = 3_600) -> PortalLink:
        """Return a link to a page on which the user's webhooks are managed; it needs no token for so many seconds."""
        return run(self._client.create_portal_link(expires_in))
