"""Create the deliveries of test events: each is sent once, is not retried, and blames no endpoint."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.ids import new_id
from service.jobs.serializers import JobSerializer, format_timestamp
from service.webhooks.models import (
    DELIVERIES,
    Delivery,
    DeliveryState,
    Endpoint,
    WebhookEvent,
    delivery_from_row,
)
from service.webhooks.rehearsal.faults import LATE_SECONDS, Fault
from service.webhooks.rehearsal.samples import DEFAULT_EXPORT_TYPE, SampleMaker
from service.webhooks.retry_policy import TEST_EVENT

REORDER_SECONDS: Final = 2.0
"""How long after an event the one before it is sent."""


class NothingEarlier(ValueError):
    """No event comes before this one, so that the order of the two could be wrong."""


@dataclass(frozen=True)
class Rehearsal:
    """What to send: a sample of a real event, or without a type the event `webhook.test`."""

    type: WebhookEvent | None = None
    fault: Fault | None = None
    export_type: str = DEFAULT_EXPORT_TYPE

    def build_rows(
        self, endpoint_id: str, user_id: str, serializer: JobSerializer, *, now: float
    ) -> list[dict[str, Any]]:
        """Return the rows of its deliveries: one, or two for a fault of order. Raises NothingEarlier."""
        at = now - LATE_SECONDS if self.fault is Fault.LATE else now
        row = {
            "delivery_id": new_id(now),
            "endpoint_id": endpoint_id,
            "user_id": user_id,
            "sequence": 0,
            "type": TEST_EVENT,
            "payload": _encode_plain_test(endpoint_id, at),
            "fault": self.fault,
            "state": DeliveryState.PENDING.value,
            "tries": 0,
            "attempts": 0,
            "requested": True,
            "next_at": now,
            "scheduled_at": now,
            "created_at": now,
        }
        if self.type is None:
            if self.fault is Fault.REORDER:
                raise NothingEarlier
            return [row]
        maker = SampleMaker(serializer, self.export_type, new_id(at))
        sample = maker.make(self.type, at=at)
        rows = [row | {"type": sample.type.value, "payload": sample.payload, "sequence": sample.sequence}]
        if self.fault is Fault.REORDER:
            earlier = maker.make_earlier(self.type, at=at)
            if earlier is None:
                raise NothingEarlier
            later = {"delivery_id": new_id(now + REORDER_SECONDS), "next_at": now + REORDER_SECONDS}
            rows.append(
                row
                | later
                | {"type": earlier.type.value, "payload": earlier.payload, "sequence": earlier.sequence}
            )
        return rows


async def create_test_deliveries(
    session: AsyncSession, endpoint: Endpoint, event: Rehearsal, serializer: JobSerializer, *, now: float
) -> Delivery:
    """Create the deliveries of a test event; return the last to be sent. Never commits; raises NothingEarlier."""
    rows = event.build_rows(endpoint.endpoint_id, endpoint.user_id, serializer, now=now)
    for row in rows:
        result = await session.execute(insert(DELIVERIES).values(row).returning(DELIVERIES))
    return delivery_from_row(result.mappings().one())


def _encode_plain_test(endpoint_id: str, at: float) -> str:
    payload = {
        "type": TEST_EVENT,
        "timestamp": format_timestamp(at),
        "data": {"endpoint_id": endpoint_id, "message": "This is a test of your endpoint."},
    }
    return msgspec.json.encode(payload).decode()
