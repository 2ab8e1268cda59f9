"""Responses of the API. Fields that a newer service adds are ignored."""

import mimetypes
from pathlib import Path

import msgspec

_UNKNOWN_TYPE = "application/octet-stream"
# Python's own table lacks some of these, and maps `.ts` to Qt translation files.
_VIDEO_TYPES = {
    ".3g2": "video/3gpp2",
    ".3gp": "video/3gpp",
    ".264": "video/h264",
    ".265": "video/h265",
    ".apng": "image/apng",
    ".asf": "video/x-ms-asf",
    ".avi": "video/x-msvideo",
    ".dv": "video/x-dv",
    ".flv": "video/x-flv",
    ".gif": "image/gif",
    ".h264": "video/h264",
    ".h265": "video/h265",
    ".hevc": "video/h265",
    ".ivf": "video/x-ivf",
    ".m2t": "video/mp2t",
    ".m2v": "video/mpeg",
    ".m2ts": "video/mp2t",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/mp2t",
    ".mxf": "application/mxf",
    ".nut": _UNKNOWN_TYPE,
    ".obu": "video/av1",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
    ".y4m": "video/x-y4m",
}


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


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """The job object; progress is in percent."""

    job_id: str
    export_id: str | None = None
    type: str
    status: str
    phase: str
    progress: float
    message: str
    error: Failure | None = None
    project_id: str | int | None = None
    attempt: int
    sequence: int
    input_key: str
    output_key: str | None = None
    output: Output | None = None
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    acknowledged_at: str | None = None
    eta_seconds: float | None = None
    gpu_seconds: float = 0.0
    runner: str = ""
    call_id: str | None = None

    @property
    def final(self) -> bool:
        return self.status in ("complete", "error", "cancelled")


class Span(msgspec.Struct, frozen=True):
    """How long one phase of an attempt took."""

    phase: str
    attempt: int
    seconds: float


class Timeline(msgspec.Struct, frozen=True):
    """The phases of an export and its cost in US dollars, if the GPU has a price."""

    phases: list[Span]
    gpu_seconds: float = 0.0
    estimated_cost_usd: float | None = None


class Page(msgspec.Struct, frozen=True):
    """One page of exports, newest first."""

    exports: list[Export]
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
    url: str = ""
    headers: dict[str, str] = {}
    upload: str = ""
    part_size: int = 0
    arrived: list[int] = []
    parts: list[Part] = []


class StoredFile(msgspec.Struct, frozen=True):
    """A file in storage."""

    key: str


def content_type(path: Path) -> str:
    """Return the media type of the suffix of the file name."""
    guessed = _VIDEO_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
    return guessed or _UNKNOWN_TYPE


def is_named_as_video(path: Path) -> bool:
    """Tell whether the suffix is that of a video that the service accepts.

    Some of these have image or application types.
    """
    return path.suffix.lower() in _VIDEO_TYPES or content_type(path).startswith("video/")
