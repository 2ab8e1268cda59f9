"""What the use cases of batches take and return."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.exports.models import ExportRequest
from service.jobs.batches.totals import Batch
from service.jobs.filters import EVERY_EXPORT, ExportFilter
from service.jobs.metadata import Metadata
from service.jobs.models import Job
from service.webhooks.models import Endpoint


@dataclass(frozen=True)
class BatchRequest:
    """A request for several exports, valid in itself."""

    requests: Sequence[ExportRequest]
    name: str | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True)
class SubmittedBatch:
    """A batch that was accepted, with its exports in the order of their requests, and their own endpoints by job id."""

    batch: Batch
    jobs: Sequence[Job]
    endpoints: dict[str, Endpoint]


@dataclass(frozen=True)
class Selection:
    """Which of a user's exports are changed: those with these ids, or those that a filter shows.

    `after` is the last id that an earlier change of the same selection has looked at.
    """

    ids: Sequence[str] | None = None
    export_filter: ExportFilter = EVERY_EXPORT
    after: str = ""


@dataclass(frozen=True)
class BulkChange:
    """How many exports of a selection could be changed and were, and where to go on if there are more."""

    matched: int
    changed: int
    next_cursor: str | None
