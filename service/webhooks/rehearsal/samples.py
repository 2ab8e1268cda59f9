"""Samples of every event: what a real one has, made up of a job that does not exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from callbacks.envelope import Phase
from service.jobs.batches.models import BATCH_PREFIX, ExportBatch
from service.jobs.batches.totals import StatusTotal, batch_to_dict
from service.jobs.ids import new_id
from service.jobs.models import EXPIRED, Job, Status
from service.jobs.serializers import JobSerializer, format_timestamp
from service.webhooks.models import WebhookEvent

DEFAULT_EXPORT_TYPE: Final = "framing"
_METADATA: Final = '{"order":"A-1042","plan":"pro","sample":true}'
_SIZES: Final = {"framing": (1080, 1920)}
_LANDSCAPE: Final = (1920, 1080)
_SECONDS, _FPS, _RUN_SECONDS, _USD_PER_SECOND = 24.0, 30, 11.4, 0.000_833
_RUNNING: Final = {"status": Status.PROCESSING, "completed_at": None, "cost_usd": 0.0, "gpu_seconds": 0.0}
_ENDED: Final = {"phase": Phase.DONE, "sequence": 9, "transition_sequence": 9}
_COMPLETE: Final = _ENDED | {"status": Status.COMPLETE, "progress": 100.0, "message": "Complete"}
_STATES: Final[Mapping[WebhookEvent, dict[str, Any]]] = {
    WebhookEvent.STARTED: _RUNNING
    | {"phase": Phase.STARTING, "sequence": 2, "transition_sequence": 2, "message": "Starting"},
    WebhookEvent.PROGRESS: _RUNNING
    | {"phase": Phase.PROCESSING, "sequence": 5, "progress": 42.5, "message": "Rendering frame 306 of 720"},
    WebhookEvent.COMPLETED: _COMPLETE,
    WebhookEvent.FAILED: _ENDED
    | {
        "status": Status.ERROR,
        "progress": 42.5,
        "message": "Failed",
        "error_code": "source_unreadable",
        "error_message": "The source can't be read after 10.2 s.",
    },
    WebhookEvent.CANCELLED: _ENDED | {"status": Status.CANCELLED, "progress": 42.5, "message": "Cancelled"},
    WebhookEvent.EXPIRED: _COMPLETE | {"sequence": 10, "expiry_step": EXPIRED},
}
_EARLIER: Final = {
    WebhookEvent.PROGRESS: WebhookEvent.STARTED,
    WebhookEvent.COMPLETED: WebhookEvent.PROGRESS,
    WebhookEvent.FAILED: WebhookEvent.PROGRESS,
    WebhookEvent.CANCELLED: WebhookEvent.PROGRESS,
    WebhookEvent.EXPIRED: WebhookEvent.COMPLETED,
    WebhookEvent.ERASED: WebhookEvent.COMPLETED,
}


@dataclass(frozen=True)
class Sample:
    """An event that nothing has caused; `sequence` is that of its export."""

    type: WebhookEvent
    job_id: str
    sequence: int
    payload: str


@dataclass(frozen=True)
class SampleMaker:
    """Makes samples of events of one type of export, which belong to the same export."""

    serializer: JobSerializer
    export_type: str
    job_id: str

    def make(self, event: WebhookEvent, *, at: float) -> Sample:
        """Return a sample of an event that happened at a time in seconds since the epoch."""
        if event is WebhookEvent.BATCH_COMPLETED:
            return self._encode(event, 1, _describe_batch(at), at)
        if event is WebhookEvent.ERASED:
            data = {"job_id": self.job_id, "erased_at": format_timestamp(at)}
            return self._encode(event, 11, data, at)
        job = self._create_job(event, at)
        return self._encode(event, job.sequence, self.serializer.to_dict(job), at)

    def make_earlier(self, event: WebhookEvent, *, at: float) -> Sample | None:
        """Return a sample of the event before this one; None if none comes before it."""
        earlier = _EARLIER.get(event)
        return None if earlier is None else self.make(earlier, at=at)

    def _encode(self, event: WebhookEvent, sequence: int, data: Any, at: float) -> Sample:
        body = {"type": event, "timestamp": format_timestamp(at), "data": data}
        return Sample(event, self.job_id, sequence, msgspec.json.encode(body).decode())

    def _create_job(self, event: WebhookEvent, at: float) -> Job:
        """Return a job as it is at the event, which rendered 24 seconds of video at the speed of a GPU."""
        width, height = _SIZES.get(self.export_type, _LANDSCAPE)
        begun = at if event is WebhookEvent.STARTED else at - _RUN_SECONDS
        columns: dict[str, Any] = {
            "job_id": self.job_id,
            "user_id": "",
            "type": self.export_type,
            "config": "{}",
            "name": "Sample export",
            "project_id": "sample",
            "metadata": _METADATA,
            "input_key": f"uploads/{sha256(self.job_id.encode()).hexdigest()[:32]}/match.mp4",
            "output_key": f"exports/{self.job_id}.mp4",
            "runner": "modal",
            "call_id": "fc-01SAMPLE",
            "created_at": begun - 2.6,
            "started_at": begun,
            "spawned_at": begun,
            "heartbeat_at": at,
            "completed_at": at,
            "gpu_seconds": _RUN_SECONDS,
            "usd_per_second": _USD_PER_SECOND,
            "cost_usd": round(_RUN_SECONDS * _USD_PER_SECOND, 6),
            "forecast_seconds": _RUN_SECONDS,
            "forecast_high_seconds": 1.5 * _RUN_SECONDS,
            "output_size": 8_412_336,
            "output_checksum": f"sha256:{sha256(b'sample').hexdigest()}",
            "output_duration": _SECONDS,
            "output_width": width,
            "output_height": height,
            "expires_at": at if event is WebhookEvent.EXPIRED else None,
        }
        return Job(**columns | _STATES[event])


def _describe_batch(at: float) -> Any:
    """Return the batch of twelve exports that has just ended, one of which failed."""
    batch = ExportBatch(
        batch_id=BATCH_PREFIX + new_id(at),
        user_id="",
        name="Sample batch",
        metadata=_METADATA,
        exports=12,
        created_at=at - 95.0,
        completed_at=at,
    )
    each = _RUN_SECONDS * _USD_PER_SECOND
    totals: dict[str, StatusTotal] = {
        Status.COMPLETE: StatusTotal(11, 1_100.0, 11 * each),
        Status.ERROR: StatusTotal(1, 42.5, each),
    }
    return batch_to_dict(batch, totals)
