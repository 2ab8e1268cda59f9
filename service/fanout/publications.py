"""Committed job states and notices as they are published, each encoded once."""

import re
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from enum import StrEnum
from functools import cached_property

from msgspec.structs import replace

from callbacks.envelope import EventType
from service.jobs.batches.models import ExportBatch
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer

_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
"""U+0085, U+2028 and U+2029, which many clients take for the end of a line (Python's `str.splitlines`)."""


class NoticeType(StrEnum):
    """Type of a message on a user's stream that is not a state of an export."""

    WEBHOOK_DISABLED = "webhook.disabled"
    EXPORT_ERASED = "export.erased"
    BATCH_COMPLETED = "batch.completed"


class RefreshType(StrEnum):
    """Type of a state that is sent again because something in it changed that `sequence` does not count."""

    QUEUE = "export.queue"


@dataclass(frozen=True)
class Publication:
    """A committed job state to send, with the job as JSON in `body`.

    A notice is a Publication, too; its `job_id` is the id of the object that it is about, and it has no `job`.
    That of a batch has the `batch`, by which the filters of streams go.
    """

    job_id: str
    user_id: str
    sequence: int
    type: EventType | NoticeType | RefreshType
    body: bytes
    job: Job | None = None
    batch: ExportBatch | None = None
    frames: dict[str, tuple[int, bytes]] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What streams of a user's exports send, by their kind, and under which event id; they share these bytes."""

    @cached_property
    def terminal(self) -> bool:
        """Tell whether the job has ended or is erased."""
        if self.job is None:
            return self.type is NoticeType.EXPORT_ERASED
        return self.job.status.is_final


def publication_of(view: JobSerializer, job: Job) -> Publication:
    """Encode a job's state once for all its subscribers.

    A config may be large, and no subscriber needs it.
    """
    body = escape_line_ends(view.to_json(job))
    return Publication(job.job_id, job.user_id, job.sequence, job.event_type, body, replace(job, config=""))


def as_refresh(publication: Publication) -> Publication:
    """Return a pending job's state as one whose `queue` has changed, and nothing else."""
    return replace_field(publication, type=RefreshType.QUEUE)


def refresh_state(held: Publication, refresh: Publication) -> Publication:
    """Return the newest content of a state, with the type by which it was or will be announced."""
    return replace_field(refresh, type=held.type)


def escape_line_ends(body: bytes) -> bytes:
    """Return JSON without characters that a client may take for the end of a line."""
    return _LINE_ENDS.sub(_escape, body)


def as_edit(publication: Publication) -> Publication:
    """Return the state of an ended job as a change for a client that knows the end: no second end."""
    return replace_field(publication, type=EventType.PROGRESS)


def _escape(line_end: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(line_end[0].decode())
