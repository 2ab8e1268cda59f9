"""The body of a callback: `{"type", "timestamp", "data"}`, whose fields are checked strictly by msgspec.

Fields that this release does not know are ignored: functions are deployed before the service is upgraded, so it gets
the reports of later runs. New fields need a default, since runs of earlier releases report as well.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

MAX_BODY_BYTES = 64 * 1024
MAX_TEXT_CHARACTERS = 2_000


class Phase(StrEnum):
    """The phases of an export, in order."""

    QUEUED = "queued"
    STARTING = "starting"
    DOWNLOADING = "downloading"
    PROCESSING = "processing"
    UPLOADING = "uploading"
    FINALIZING = "finalizing"
    DONE = "done"


class EventType(StrEnum):
    """The events of callbacks, streams and webhooks."""

    STARTED = "export.started"
    PROGRESS = "export.progress"
    COMPLETED = "export.completed"
    FAILED = "export.failed"
    CANCELLED = "export.cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in {EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED}


# `\Z` instead of `$`, which accepts a newline at the end.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARACTERS)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
RunName = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[0-9a-f]*\Z")]
Count = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
MAX_SECONDS = 33 * 86_400.0
"""The GPU time of a run of a day with its 32 remote chunk workers; no video is longer."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)]
Pixels = Annotated[int, msgspec.Meta(ge=0, le=16_384)]


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """The object that an attempt wrote: size in bytes, checksum `sha256:<hex>`, duration in seconds.

    Width and height are in pixels, 0 for an output without a picture.
    """

    size: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    checksum: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    duration: Seconds
    width: Pixels
    height: Pixels


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt failed: a code, and a sentence that a person can act on.

    `transient` says that another attempt may succeed where this one did not.
    """

    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
    message: Text
    transient: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an attempt. `step` counts from 1 within the attempt; progress is in percent.

    `run` names the run: Modal runs the input of a preempted container again, under the same attempt and key, while the
    first run may still post. Later runs have greater names, and only the latest counts.
    """

    job_id: Identifier
    attempt: Count
    step: Count
    call_id: Identifier
    run: RunName = ""
    phase: Phase
    progress: Percent
    message: Text
    eta_seconds: Seconds | None = None
    gpu_seconds: Seconds | None = None
    output: Output | None = None
    error: Failure | None = None


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """The whole body of a callback."""

    type: EventType
    timestamp: Timestamp
    data: Report

    def __post_init__(self) -> None:
        self._check_text()
        if (self.type is EventType.COMPLETED) != (self.data.output is not None):
            raise ValueError("`output` must be present in export.completed, and only there")
        if (self.type is EventType.FAILED) != (self.data.error is not None):
            raise ValueError("`error` must be present in export.failed, and only there")
        if self.type is EventType.CANCELLED:
            raise ValueError("a run can't send export.cancelled")

    def _check_text(self) -> None:
        # Patterns on these fields would double the cost of decoding, and every progress report is decoded.
        report = self.data
        names = report.job_id + report.call_id
        if not (names.isascii() and names.isprintable()) or " " in names:
            raise ValueError("`job_id` and `call_id` must consist of visible ASCII characters")
        text = report.message if report.error is None else report.message + report.error.message
        if "\0" in text:  # PostgreSQL text can't contain it
            raise ValueError("text must not contain NUL")


_decoder = msgspec.json.Decoder(Callback)
_encoder = msgspec.json.Encoder()


def decode(body: bytes) -> Callback:
    """Parse a verified body; raises `msgspec.DecodeError` (a ValueError) that says what is wrong."""
    try:
        return _decoder.decode(body)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("the body is not UTF-8") from None


def encode(callback: Callback) -> bytes:
    """Encode a callback to the bytes that are signed and sent."""
    return _encoder.encode(callback)


def format_rfc3339(moment: datetime) -> str:
    """Format a time as in every contract: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
