"""Check what one consumer endpoint receives against what consumers may rely on."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import standardwebhooks

from tests.faults.checkers.violations import History

BATCH_COMPLETED = "batch.completed"
ERASED = "export.erased"
EXPIRED = "export.expired"
_BLANK = b'{"type": "", "data": {"job_id": "", "sequence": 0}}'
"""What stands for a body that the service has erased."""


@dataclass
class ReceivedWebhook:
    """A request to an endpoint; `status` is the answer, None until it has been sent."""

    delivery_id: str
    body: bytes
    status: int | None = None
    event: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.event = msgspec.json.decode(self.body or _BLANK)

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def subject(self) -> str:
        """The id of the export or batch that it is about."""
        data = self.event["data"]
        return str(data["batch_id"] if self.type == BATCH_COMPLETED else data["job_id"])

    @property
    def sequence(self) -> float:
        """Its place in the order of its subject's events: nothing comes after `export.erased`."""
        if self.type == BATCH_COMPLETED:
            return 1
        return math.inf if self.type == ERASED else int(self.event["data"]["sequence"])

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        return f"{self.type} {self.sequence} of {self.subject[-6:]} ({self.delivery_id[-6:]})"


class Inbox:
    """The requests to one endpoint in order of arrival."""

    def __init__(self, history: History, is_now: Callable[[float], bool]) -> None:
        """Create an inbox; `is_now(epoch seconds)`: whether the service's clock may show that time."""
        self.history = history
        self._is_now = is_now
        self.is_recovering = False
        """Whether the consumer has asked for ends that it missed."""
        self.on_arrival: Callable[[ReceivedWebhook], None] = lambda _: None
        self.arrivals: dict[str, list[ReceivedWebhook]] = defaultdict(list)  # by webhook-id
        self._newest: dict[str, ReceivedWebhook] = {}  # by export or batch
        self._verifier: standardwebhooks.Webhook | None = None

    def set_secret(self, secret: str) -> None:
        """Verify signatures with the secret that the service showed at registration."""
        self._verifier = standardwebhooks.Webhook(secret)

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many requests have arrived and how many have been answered."""
        received = [arrival for each in self.arrivals.values() for arrival in each]
        return len(received), sum(arrival.status is not None for arrival in received)

    def receive(self, headers: dict[str, str], body: bytes) -> ReceivedWebhook:
        """Record a complete request and everything that is wrong with it.

        A delivery may repeat, but may not follow a newer one of its job.
        """
        self._verify(headers, body)
        arrival = ReceivedWebhook(headers["webhook-id"], body)
        self.history.require(
            bool(body), f"webhook {headers['webhook-id']}: its body was erased before it came"
        )
        earlier = self.arrivals[arrival.delivery_id]
        earlier.append(arrival)
        self.on_arrival(arrival)
        self.history.require(earlier[0].body == body, f"{arrival}: its body changed from one to the next")
        newest = self._newest.setdefault(arrival.subject, arrival)
        in_order = arrival.sequence >= newest.sequence
        # A recovery sends the end of an export that was not accepted, also if its expiry was announced since.
        is_recovered = self.is_recovering and newest.type == EXPIRED
        self.history.require(in_order or is_recovered, f"webhook {arrival} came after {newest}")
        same = arrival.delivery_id == newest.delivery_id
        self.history.require(
            same or arrival.sequence != newest.sequence,
            f"webhook {arrival} came under another id, too: {newest}",
        )
        if in_order:
            self._newest[arrival.subject] = arrival
        return arrival

    def _verify(self, headers: dict[str, str], body: bytes) -> None:
        assert self._verifier is not None
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        expected = self._verifier.sign(message_id, datetime.fromtimestamp(timestamp, UTC), body.decode())
        valid = expected in headers["webhook-signature"].split(" ")
        self.history.require(valid, f"webhook {message_id}: its signature is wrong")
        self.history.require(self._is_now(timestamp), f"webhook {message_id} was signed at {timestamp}")
