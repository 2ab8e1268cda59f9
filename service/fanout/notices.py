"""Notices to a user that are no state of an export."""

from typing import Literal

import msgspec

from service.fanout.hub import Hub
from service.fanout.publications import NoticeType, Publication, escape_line_ends
from service.jobs.batches.completion import CompletedBatch
from service.jobs.erasures import ErasedData, Erasure, to_erased_data
from service.webhooks import serializers
from service.webhooks.models import Endpoint


class ErasedExport(ErasedData):
    """The last state of an export that was erased: `status` is `erased`, `sequence` greater than any before."""

    export_id: str | None
    status: Literal["erased"]
    sequence: int


def publish_disabled(hub: Hub, endpoint: Endpoint) -> None:
    """Tell the owner of an endpoint, on the stream of all exports, that it was disabled."""
    body = escape_line_ends(msgspec.json.encode(serializers.endpoint_to_dict(endpoint)))
    sequence = round((endpoint.disabled_at or 0) * 1000)
    hub.publish(
        Publication(endpoint.endpoint_id, endpoint.user_id, sequence, NoticeType.WEBHOOK_DISABLED, body)
    )


def publish_completed(hub: Hub, completed: CompletedBatch) -> None:
    """Tell the streams of all exports of a user, once each, that the last export of a batch has ended."""
    batch = completed.batch
    body = escape_line_ends(msgspec.json.encode(completed.data))
    hub.publish(Publication(batch.batch_id, batch.user_id, 1, NoticeType.BATCH_COMPLETED, body, batch=batch))


def publish_erased(hub: Hub, erasure: Erasure) -> None:
    """Tell the streams of an export, and of all exports of its user, that it was erased."""
    state = ErasedExport(
        **to_erased_data(erasure), export_id=erasure.export_id, status="erased", sequence=erasure.sequence
    )
    body = msgspec.json.encode(state)
    hub.publish(
        Publication(erasure.job_id, erasure.user_id, erasure.sequence, NoticeType.EXPORT_ERASED, body)
    )
