"""What the use cases of exports take and return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpu.config import ExportConfig
from service.jobs.metadata import Metadata
from service.jobs.models import Job
from service.jobs.queue.priorities import Priority
from service.webhooks.endpoints import DEFAULT_EVENTS
from service.webhooks.models import Endpoint


@dataclass(frozen=True)
class Schedule:
    """When an export may start, before which others, and what time it has, in seconds; `not_before` since the epoch."""

    priority: Priority = Priority.NORMAL
    not_before: float | None = None
    start_within_seconds: float | None = None
    deadline_seconds: float | None = None


@dataclass(frozen=True)
class ExportRequest:
    """A request for an export, valid in itself.

    `raw_config` is the config as the client wrote it, and is stored. `webhook_url` is an endpoint of this export alone.
    `path` is the place of the request in the body, for errors: empty, or `("exports", 17)` in a batch.
    `body_hash` says whether a later request with the same `export_id` is the same request.
    """

    type: str
    config: ExportConfig
    raw_config: Mapping[str, Any]
    project_id: str | int | None = None
    project_name: str | None = None
    expires_in_days: int | None = None
    export_id: str | None = None
    body_hash: str | None = None
    webhook_url: str | None = None
    webhook_events: Sequence[str] = DEFAULT_EVENTS
    traceparent: str | None = None
    request_id: str | None = None
    name: str | None = None
    metadata: Metadata | None = None
    schedule: Schedule = Schedule()
    max_cost_usd: float | None = None
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class ExportLimits:
    """What the settings say of exports.

    `max_queued` exports of one user may be pending or processing, and their files take `max_bytes`.
    `head_start_seconds` is what a high priority is worth; `not_before` may be `max_schedule_days` from now.
    """

    runner: str
    max_queued: int
    attempt_limit: int
    head_start_seconds: float
    max_schedule_days: float
    max_bytes: int = 0
    output_days: float = 0.0


@dataclass(frozen=True)
class Idempotency:
    """The client's key for a request, and the hash of the body that it came with."""

    key: str
    body_hash: str


@dataclass(frozen=True)
class Submitted:
    """An export that was accepted, with the endpoint of its own if it has one."""

    job: Job
    endpoint: Endpoint | None
