"""What one endpoint of a consumer has received, held against what a consumer may rely on."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import standardwebhooks

from tests.faults.checkers.violations import Record


@dataclass
class Arrival:
    """One request; `status` is what it was answered, None as long as it was not."""

    delivery_id: str
    body: bytes
    status: int | None = None
    event: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.event = msgspec.json.decode(self.body)

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def job(self) -> dict[str, Any]:
        found: dict[str, Any] = self.event["data"]
        return found

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        return (
            f"{self.type} {self.job['sequence']} of job {self.job['job_id'][-6:]} ({self.delivery_id[-6:]})"
        )


class Inbox:
    """The requests to one endpoint, in the order in which they came."""

    def __init__(self, record: Record, is_now: Callable[[float], bool]) -> None:
        """`is_now`: whether the service's clock may show this time, in seconds since the epoch."""
        self.record = record
        self._is_now = is_now
        self.noticed: Callable[[Arrival], None] = lambda _: None  # is told of each arrival
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)  # by webhook-id
        self._newest: dict[str, Arrival] = {}  # by job
        self._signed: standardwebhooks.Webhook | None = None

    def trust(self, secret: str) -> None:
        """The secret that the service showed when the endpoint was made."""
        self._signed = standardwebhooks.Webhook(secret)

    @property
    def heard(self) -> tuple[int, int]:
        """How many requests came so far, and how many of them were answered."""
        seen = [arrival for each in self.arrivals.values() for arrival in each]
        return len(seen), sum(arrival.status is not None for arrival in seen)

    def take(self, headers: dict[str, str], body: bytes) -> Arrival:
        """A request has come, whole: note it, and whatever is wrong with it.

        One may come again, but never after a newer one of its job.
        """
        self._verify(headers, body)
        arrival = Arrival(headers["webhook-id"], body)
        before = self.arrivals[arrival.delivery_id]
        before.append(arrival)
        self.noticed(arrival)
        self.record.require(before[0].body == body, f"{arrival}: its body changed from one to the next")
        newest = self._newest.setdefault(arrival.job["job_id"], arrival)
        before_it, sequence = newest.job["sequence"], arrival.job["sequence"]
        self.record.require(sequence >= before_it, f"webhook {arrival} came after {newest}")
        same = arrival.delivery_id == newest.delivery_id
        self.record.require(
            same or sequence != before_it, f"webhook {arrival} came under another id, too: {newest}"
        )
        if sequence >= before_it:
            self._newest[arrival.job["job_id"]] = arrival
        return arrival

    def _verify(self, headers: dict[str, str], body: bytes) -> None:
        assert self._signed is not None
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        signed = self._signed.sign(message_id, datetime.fromtimestamp(timestamp, UTC), body.decode())
        genuine = signed in headers["webhook-signature"].split(" ")
        self.record.require(genuine, f"webhook {message_id}: its signature is wrong")
        self.record.require(self._is_now(timestamp), f"webhook {message_id} was signed at {timestamp}")
