"""Responses of the API. Fields that a newer service adds are ignored."""

from datetime import datetime

import msgspec

from framehook.webhook_models import Endpoint


class Failure(msgspec.Struct, frozen=True):
    """Why an export failed."""

    code: str
    message: str


class Output(msgspec.Struct, frozen=True):
    """The exported file: size in bytes, checksum `sha256:<hex>`, duration in seconds."""

    size: int
    checksum: str
    duration: float
    width: int
    height: int
    url: str


class Queue(msgspec.Struct, frozen=True):
    """What a pending export waits for: its place among all, the seconds until it starts, and a reason for people."""

    position: int
    ahead_seconds: float | None = None
    limited_by: str | None = None


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an export: `sequence` counts its changes, `progress` is in percent.

    `webhook` is the endpoint of its `webhook_url` with its secret, in the answer to the creation alone.
    """

    job_id: str
    export_id: str | None = None
    batch_id: str | None = None
    name: str | None = None
    type: str
    status: str
    phase: str
    progress: float
    message: str
    error: Failure | None = None
    project_id: str | int | None = None
    metadata: dict[str, str | bool | int | float] = {}
    priority: str = "normal"
    not_before: datetime | None = None
    queue: Queue | None = None
    attempt: int
    sequence: int
    input_key: str
    output_key: str | None = None
    output: Output | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    expires_at: datetime | None = None
    eta_seconds: float | None = None
    eta_high_seconds: float | None = None
    gpu_seconds: float | None = None
    cost_usd: float | None = None
    max_cost_usd: float | None = None
    runner: str = ""
    call_id: str | None = None
    webhook: Endpoint | None = None

    @property
    def is_final(self) -> bool:
        """Tell whether the export has ended; only a retry starts it again."""
        return self.status in ("complete", "error", "cancelled")


class Exports(msgspec.Struct, frozen=True):
    """A list of exports."""

    exports: tuple[Export, ...]


class DownloadUrl(msgspec.Struct, frozen=True):
    """A URL that needs no token, and when it expires."""

    url: str
    expires_at: datetime


class Span(msgspec.Struct, frozen=True):
    """How long one phase of an attempt took."""

    phase: str
    attempt: int
    seconds: float
    started_at: datetime | None = None


class Timeline(msgspec.Struct, frozen=True):
    """The phases of an export and its cost in US dollars, if the GPU has a price."""

    phases: tuple[Span, ...]
    gpu_seconds: float = 0.0
    estimated_cost_usd: float | None = None


class Page(msgspec.Struct, frozen=True):
    """One page of exports, newest first."""

    exports: tuple[Export, ...]
    next_cursor: str | None = None


class Part(msgspec.Struct, frozen=True):
    """One part of an upload: its number from 1, its size in bytes, the URL to PUT it to."""

    number: int
    size: int
    url: str


class UploadTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to upload a file: to `url`, or in `parts` if `upload` is set.

    Every part but the last has `part_size` bytes; `arrived` holds the numbers of the stored ones. `parts` holds some of
    the missing ones; request the target again for the others.
    """

    key: str
    method: str = "PUT"
    url: str | None = None
    headers: dict[str, str] = {}
    upload: str | None = None
    part_size: int = 0
    arrived: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded file: its size in bytes, and the active exports that read it.

    `state` is `stored`, or `announced` until all of it has arrived.
    """

    key: str
    filename: str
    size: int
    state: str
    used_by: tuple[str, ...] = ()
    created_at: datetime
    expires_at: datetime | None = None


class Uploads(msgspec.Struct, frozen=True):
    """One page of uploads, newest first."""

    uploads: tuple[Upload, ...]
    next_cursor: str | None = None


class StoredFile(msgspec.Struct, frozen=True):
    """A file in storage."""

    key: str
