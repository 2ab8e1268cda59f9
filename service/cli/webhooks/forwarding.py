"""Forward deliveries to a receiver that this machine reaches, as the service sends them to a URL."""

import re
import time
from ipaddress import ip_network
from typing import Any, Final

import msgspec

from framehook.webhook_models import ListenerDelivery
from infra.egress import BlockedURL, EgressClient, EgressPolicy, Unreachable
from service.webhooks.retry_policy import ListenerFault

_ANY_NETWORK: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_SIGNATURE: Final = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
MAX_MESSAGE: Final = 500


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came back for a delivery; its fields are those of the request that reports it."""

    seconds: float
    status: int | None = None
    error: dict[str, str] | None = None
    excerpt: str | None = None
    retry_after: str | None = None

    @property
    def is_rejected(self) -> bool:
        """The receiver says that the message is wrong."""
        return self.status is not None and 400 <= self.status < 500  # noqa: PLR2004 - 4xx

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx

    @property
    def summary(self) -> str:
        """What came back and how long it took, for people."""
        result = self.error["message"].rstrip(".") if self.error else str(self.status)
        return f"{result} in {round(self.seconds * 1000)} ms"

    @property
    def computed_signature(self) -> str | None:
        """The signature that the receiver computed, if its response names one."""
        match = _SIGNATURE.search(self.excerpt or "")
        return match[0] if match else None

    def to_body(self) -> dict[str, Any]:
        """Return the body of the request that reports it."""
        body: dict[str, Any] = msgspec.to_builtins(self)
        return body


def create_local_egress(seconds: float) -> EgressClient:
    """Create the client that the service sends webhooks with, for URLs of this machine's user: any network, http."""
    policy = EgressPolicy(
        _ANY_NETWORK, allow_http=True, networks_setting="the allowed networks", http_setting="http"
    )
    return EgressClient(policy, total_seconds=seconds)


async def forward(egress: EgressClient, url: str, delivery: ListenerDelivery) -> Outcome:
    """Send a delivery to the receiver, and return what came back."""
    from service.webhooks.rehearsal.faults import post_message  # loads the tables
    from service.webhooks.signing import Message

    start = time.monotonic()
    try:
        message = Message(delivery.headers, delivery.body.encode())
        response = await post_message(egress, url, message, delivery.fault)
    except Unreachable as error:
        code = error.code if error.code in set(ListenerFault) else ListenerFault.CONNECT
        return _without_response(start, code, error.message)
    except BlockedURL as error:
        return _without_response(start, ListenerFault.CONNECT, error.reason)
    return Outcome(
        response.seconds, response.status, excerpt=response.excerpt, retry_after=response.retry_after
    )


def _without_response(start: float, code: str, message: str) -> Outcome:
    return Outcome(time.monotonic() - start, error={"code": code, "message": message[:MAX_MESSAGE]})
