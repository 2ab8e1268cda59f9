"""The job as JSON: the same for REST, streams and webhooks."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypedDict, cast, overload

import msgspec

from callbacks.envelope import Phase, format_rfc3339
from service.forecast.rates import Prediction
from service.forecast.remaining import measure_run, predict_remaining
from service.jobs.metadata import MetadataValue, decode_metadata
from service.jobs.models import Job, Status
from service.jobs.queue.priorities import Priority


class ExportFailure(TypedDict):
    """Why an export failed: a code for programs, a sentence for people."""

    code: str
    message: str


class ExportOutput(TypedDict):
    """The exported file: size in bytes, checksum `sha256:<hex>`, duration in seconds, width and height in pixels.

    `url` needs authorization.
    """

    size: int
    checksum: str
    duration: float
    width: int
    height: int
    url: str


class QueuePlace(TypedDict):
    """What a pending export waits for.

    `position` counts from 1 over the exports of all users in the order in which they are expected to start; behind the
    first 200 it is a lower bound. `ahead_seconds` is the time until the start, null if it can't be foreseen.
    `limited_by` says for people what it waits for, null if it starts now.
    """

    position: int
    ahead_seconds: float | None
    limited_by: str | None


class Export(TypedDict):
    """An export: `progress` in percent, `gpu_seconds` in seconds, times in RFC 3339.

    It ends within `eta_seconds` in half of all cases, within `eta_high_seconds` in nine of ten; null where these are
    unknown. Both count from the latest report of its run, or from now while it waits.

    `sequence` counts the changes of the export: ignore a state whose `sequence` is not greater than the one you have.
    `attempt` counts its attempts. `error` is set if it failed, `output` once it is complete,
    until its file expires at `expires_at`.
    `export_id`, `name`, `project_id` and `metadata` are as the client gave them.
    It does not start before `not_before`. `queue` says what it waits for while it is pending, else it is null.
    `cost_usd` is what all of its attempts have cost: 0 on the service's own machine, null if a price is unknown.
    """

    job_id: str
    export_id: str | None
    batch_id: str | None
    name: str | None
    type: str
    status: Status
    phase: Phase
    progress: float
    message: str
    error: ExportFailure | None
    project_id: str | int | None
    metadata: dict[str, MetadataValue]
    priority: Priority
    not_before: str | None
    queue: QueuePlace | None
    attempt: int
    sequence: int
    input_key: str
    output_key: str
    output: ExportOutput | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    acknowledged_at: str | None
    expires_at: str | None
    eta_seconds: float | None
    eta_high_seconds: float | None
    gpu_seconds: float
    cost_usd: float | None
    max_cost_usd: float | None
    runner: str
    call_id: str | None


def describe_no_queue(_job: Job) -> QueuePlace | None:
    """Say nothing of what a job waits for."""
    return None


def predict_exact_wait(foreseen_seconds: float) -> Prediction:
    """Take a wait for as long as it is foreseen."""
    return Prediction(foreseen_seconds, foreseen_seconds)


@dataclass(frozen=True)
class JobSerializer:
    """Serialize jobs; `origin` is the address at which clients reach the service.

    `describe_queue` says what a pending job waits for, `predict_wait` how sure the time of it is.
    """

    origin: str
    describe_queue: Callable[[Job], QueuePlace | None] = field(default=describe_no_queue, compare=False)
    predict_wait: Callable[[float], Prediction] = field(default=predict_exact_wait, compare=False)

    def to_dict(self, job: Job) -> Export:
        """Return the job object of the wire contract."""
        place = self.describe_queue(job)
        ahead = 0.0 if place is None else place["ahead_seconds"]
        left = predict_left(job, wait=None if ahead is None else self.predict_wait(ahead))
        return {
            "job_id": job.job_id,
            "export_id": job.export_id,
            "batch_id": job.batch_id,
            "name": job.name,
            "type": job.type,
            "status": job.status,
            "phase": job.phase,
            "progress": round(job.progress, 1),
            "message": job.message,
            "error": {"code": job.error_code, "message": job.error_message or ""} if job.error_code else None,
            "project_id": job.project,
            "metadata": decode_metadata(job.metadata),
            "priority": job.priority,
            "not_before": format_timestamp(job.scheduled_at),
            "queue": place,
            "attempt": job.attempt,
            "sequence": job.sequence,
            "input_key": job.input_key,
            "output_key": job.output_key,
            "output": self._output(job),
            "created_at": format_timestamp(job.created_at),
            "started_at": format_timestamp(job.started_at),
            "completed_at": format_timestamp(job.completed_at),
            "acknowledged_at": format_timestamp(job.acknowledged_at),
            "expires_at": format_timestamp(job.expires_at),
            "eta_seconds": None if left is None else round(left.p50, 1),
            "eta_high_seconds": None if left is None else round(left.p90, 1),
            "gpu_seconds": round(job.gpu_seconds, 3),
            "cost_usd": None if job.cost_usd is None else round(job.cost_usd, 6),
            "max_cost_usd": job.max_cost_usd,
            "runner": job.runner,
            "call_id": job.call_id,
        }

    def to_json(self, job: Job) -> bytes:
        """Return the job object as JSON."""
        return msgspec.json.encode(self.to_dict(job))

    def _output(self, job: Job) -> ExportOutput | None:
        if job.status is not Status.COMPLETE or job.has_expired:
            return None
        output = {
            "size": job.output_size,
            "checksum": job.output_checksum,
            "duration": job.output_duration,
            "width": job.output_width,
            "height": job.output_height,
            "url": f"{self.origin}/api/exports/{job.job_id}/download",
        }
        return cast(ExportOutput, output)  # the change to `complete` sets all of these columns


def predict_left(job: Job, *, wait: Prediction | None) -> Prediction | None:
    """Return the seconds until an active job ends, counted from its latest report; None if they are unknown.

    A job that has not been started waits first. It is unlikely that both its wait and its run take long.
    """
    if job.status.is_final:
        return None
    forecast = None
    if job.forecast_seconds is not None and job.forecast_high_seconds is not None:
        forecast = Prediction(job.forecast_seconds, job.forecast_high_seconds)
    begun = job.started_at if job.spawned_at is None else job.spawned_at
    if begun is None:
        if forecast is None or wait is None:
            return None
        middle = wait.p50 + forecast.p50
        return Prediction(middle, middle + math.hypot(wait.p90 - wait.p50, forecast.p90 - forecast.p50))
    elapsed = 0.0
    if job.started_at is not None:
        elapsed = max(0.0, job.started_at - begun)
        elapsed += measure_run(
            job.started_at, job.heartbeat_at or begun, job.gpu_seconds - job.gpu_seconds_before
        )
    return predict_remaining(forecast, elapsed=elapsed, fraction=job.progress / 100, measured=job.eta_seconds)


@overload
def format_timestamp(at: float) -> str: ...


@overload
def format_timestamp(at: float | None) -> str | None: ...


def format_timestamp(at: float | None) -> str | None:
    """Format seconds since the epoch as a time of the wire contract."""
    return None if at is None else format_rfc3339(datetime.fromtimestamp(at, UTC))
