"""Events that are no change of an export's state: of an erasure, an expiry or a batch."""

from dataclasses import dataclass
from functools import cached_property

import msgspec

from service.jobs.batches.completion import CompletedBatch
from service.jobs.batches.totals import Batch
from service.jobs.erasures import ErasedData, Erasure, to_erased_data
from service.jobs.models import Job
from service.jobs.serializers import Export, JobSerializer, format_timestamp
from service.webhooks.models import WebhookEvent


@dataclass(frozen=True)
class Notice:
    """An event of an export or batch, `object_id`; `at` is in seconds since the epoch."""

    type: WebhookEvent
    user_id: str
    object_id: str
    sequence: int
    data: ErasedData | Export | Batch
    at: float

    @cached_property
    def payload(self) -> str:
        """The body, which all endpoints share."""
        body = {"type": self.type, "timestamp": format_timestamp(self.at), "data": self.data}
        return msgspec.json.encode(body).decode()

    def to_delivery(self, endpoint_id: str, delivery_id: str) -> dict[str, object]:
        """Return the parameters of `INSERT_DELIVERY`."""
        return {
            "delivery_id": delivery_id,
            "endpoint_id": endpoint_id,
            "user_id": self.user_id,
            "job_id": self.object_id,
            "sequence": self.sequence,
            "type": self.type.value,
            "payload": self.payload,
            "traceparent": None,
            "request_id": None,
            "now": self.at,
        }


def notice_of_erasure(erasure: Erasure, at: float) -> Notice:
    """Return the `export.erased` of an export."""
    event, data = WebhookEvent.ERASED, to_erased_data(erasure)
    return Notice(event, erasure.user_id, erasure.job_id, erasure.sequence, data, at)


def notice_of_expiry(job: Job, serializer: JobSerializer, at: float) -> Notice:
    """Return the `export.expired` of an export, before or after its file is deleted."""
    data = serializer.to_dict(job)
    return Notice(WebhookEvent.EXPIRED, job.user_id, job.job_id, job.sequence, data, at)


def notice_of_batch(completed: CompletedBatch, at: float) -> Notice:
    """Return the `batch.completed` of a batch."""
    event = WebhookEvent.BATCH_COMPLETED
    return Notice(event, completed.user_id, completed.batch_id, 1, completed.data, at)
