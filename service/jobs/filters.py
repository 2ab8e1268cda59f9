"""Which exports a list, a stream or an endpoint shows: by status, type, project, batch, metadata and time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_

from service.jobs.batches.models import ExportBatch
from service.jobs.ids import first_id
from service.jobs.metadata import list_fragments
from service.jobs.models import JOBS, Job, Status

_MILLISECOND_AND_ROUNDING = 0.002
_HALF_MICROSECOND = 0.6e-6
"""Clients know times that were rounded to microseconds: one that was shown must find its export."""
_ENDS_BEFORE_RETRY = frozenset({Status.ERROR, Status.CANCELLED})


@dataclass(frozen=True)
class ExportFilter:
    """Conditions that an export has to meet, all of them; without conditions every export is shown.

    `metadata` holds keys with the text of their values. Times are seconds since the epoch; `created_after` belongs to
    the time that is shown, `created_before` does not. A stream also sends the state in which an export leaves the
    filter, so that its client does not keep an older one for current. Its type and its creation last as long as the
    export; its status changes, and its project and metadata if they are edited.
    """

    statuses: frozenset[Status] = frozenset()
    types: frozenset[str] = frozenset()
    project_id: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    created_after: float | None = None
    created_before: float | None = None
    batch_id: str | None = None
    _fragments: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)
    _after: float | None = field(init=False, repr=False, compare=False)
    _before: float | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fragments = tuple(tuple(list_fragments(key, text)) for key, text in self.metadata)
        object.__setattr__(self, "_fragments", fragments)
        for name, at in (("_after", self.created_after), ("_before", self.created_before)):
            object.__setattr__(self, name, None if at is None else at - _HALF_MICROSECOND)

    def matches(self, job: Job) -> bool:
        """Check the conditions on the state of a job."""
        return (
            (not self.statuses or job.status in self.statuses)
            and self._matches_submission(job)
            and self._matches_edits(job)
        )

    def matches_batch(self, batch: ExportBatch) -> bool:
        """Check the conditions on a batch; it has no status, type and project, and so meets none on these."""
        return (
            not (self.statuses or self.types or self.project_id is not None)
            and self.batch_id in (None, batch.batch_id)
            and self._matches_creation(batch.created_at)
            and self._matches_metadata(batch.metadata)
        )

    def may_have_matched(self, job: Job) -> bool:
        """Check whether an earlier state of the job may have met the conditions."""
        was_edited = job.edited_at is not None
        earlier = {Status.PENDING}
        if job.attempt > 1 or job.started_at is not None:
            earlier.add(Status.PROCESSING)
        if job.attempt > 1:
            earlier |= _ENDS_BEFORE_RETRY
        if was_edited:
            earlier.add(job.status)
        has_status = not earlier.isdisjoint(self.statuses) or (was_edited and not self.statuses)
        return has_status and self._matches_submission(job) and (was_edited or self._matches_edits(job))

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what `matches` checks of all but the status, for a query that is to use the index of the project."""
        edits = self._edit_conditions(JOBS.c.project_id)
        return [
            *self._submission_conditions(JOBS.c.type, JOBS.c.batch_id),
            *edits,
            *self.id_range(JOBS.c.job_id),
        ]

    def id_range(self, job_id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """Return the bounds of the ids of jobs that were created in the time shown, for an index in their order.

        An id begins with the millisecond of the creation.
        """
        bounds = []
        if self._after is not None:
            bounds.append(job_id >= first_id(max(0.0, self._after)))
        if self._before is not None:
            bounds.append(job_id < first_id(max(0.0, self._before + _MILLISECOND_AND_ROUNDING)))
        return bounds

    def residual_conditions(self, *, with_earlier: bool = False) -> list[ColumnElement[bool]]:
        """Return what `matches` checks, for a query that an index of other columns limits.

        With `with_earlier` the query also returns what `may_have_matched`. Neither database has an index for these
        expressions, and so cannot choose one that leads to far more rows.
        """
        edits = self._edit_conditions(_without_index(JOBS.c.project_id))
        if with_earlier and edits:
            edits = [or_(and_(*edits), JOBS.c.edited_at.is_not(None))]
        columns = (_without_index(JOBS.c.type), _without_index(JOBS.c.batch_id))
        submission = self._submission_conditions(*columns)
        return [*submission, *edits, *self._status_conditions(with_earlier)]

    def _matches_submission(self, job: Job) -> bool:
        """Check what lasts as long as the job."""
        return (
            (not self.types or job.type in self.types)
            and self._matches_creation(job.created_at)
            and self.batch_id in (None, job.batch_id)
        )

    def _matches_creation(self, created_at: float) -> bool:
        return (self._after is None or created_at >= self._after) and (
            self._before is None or created_at < self._before
        )

    def _matches_edits(self, job: Job) -> bool:
        """Check what its user may change."""
        if self.project_id not in (None, job.project_id):
            return False
        return self._matches_metadata(job.metadata)

    def _matches_metadata(self, column: str | None) -> bool:
        return all(any(fragment in (column or "") for fragment in fragments) for fragments in self._fragments)

    def _submission_conditions(
        self, type_: ColumnElement[str], batch_id: ColumnElement[str]
    ) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = [type_.in_(sorted(self.types))] if self.types else []
        if self.batch_id is not None:
            conditions.append(batch_id == self.batch_id)
        if self._after is not None:
            conditions.append(JOBS.c.created_at >= self._after)
        if self._before is not None:
            conditions.append(JOBS.c.created_at < self._before)
        return conditions

    def _edit_conditions(self, project_id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        project = [] if self.project_id is None else [project_id == self.project_id]
        return [*project, *(_contains_any(JOBS.c.metadata, fragments) for fragments in self._fragments)]

    def _status_conditions(self, with_earlier: bool) -> list[ColumnElement[bool]]:
        if not self.statuses or (with_earlier and Status.PENDING in self.statuses):
            return []  # each export was pending
        is_shown = _without_index(JOBS.c.status).in_(sorted(self.statuses))
        if not with_earlier:
            return [is_shown]
        earlier: list[ColumnElement[bool]] = [is_shown]
        if not self.statuses.isdisjoint((Status.PROCESSING, *_ENDS_BEFORE_RETRY)):
            earlier.append(JOBS.c.attempt > 1)
        if Status.PROCESSING in self.statuses:
            earlier.append(JOBS.c.started_at.is_not(None))
        return [or_(*earlier)]


EVERY_EXPORT = ExportFilter()


class StoredFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A filter as JSON in a row, with the names that the API has for its conditions."""

    status: tuple[Status, ...] = ()
    type: tuple[str, ...] = ()
    project_id: str | None = None
    metadata: dict[str, str] = {}
    created_after: float | None = None
    created_before: float | None = None
    batch_id: str | None = None


def encode_filter(export_filter: ExportFilter) -> str | None:
    """Return the column of a filter; None if it shows every export."""
    if export_filter == EVERY_EXPORT:
        return None
    stored = StoredFilter(
        tuple(sorted(export_filter.statuses)),
        tuple(sorted(export_filter.types)),
        export_filter.project_id,
        dict(export_filter.metadata),
        export_filter.created_after,
        export_filter.created_before,
        export_filter.batch_id,
    )
    return msgspec.json.encode(stored).decode()


@lru_cache(maxsize=1_024)
def decode_filter(column: str) -> ExportFilter:
    """Return the filter in a column."""
    stored = msgspec.json.decode(column, type=StoredFilter)
    return ExportFilter(
        frozenset(stored.status),
        frozenset(stored.type),
        stored.project_id,
        tuple(stored.metadata.items()),
        stored.created_after,
        stored.created_before,
        stored.batch_id,
    )


def _without_index(column: ColumnElement[str]) -> ColumnElement[str]:
    return column.op("||")("")


def _contains_any(column: ColumnElement[str], fragments: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that the text contains a fragment; with `LIKE` SQLite would ignore case."""
    return or_(*(func.replace(column, fragment, "") != column for fragment in fragments))
