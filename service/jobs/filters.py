"""Which exports a list or a stream shows: a status, a type, a project."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_

from service.jobs.models import JOBS, Job, Status

_ENDS_BEFORE_RETRY = frozenset({Status.ERROR, Status.CANCELLED})


@dataclass(frozen=True)
class ExportFilter:
    """Conditions that an export has to meet, all of them; without conditions every export is shown.

    A stream also sends the state in which an export leaves the filter, so that its client does not keep an older one
    for current. Only a status changes: type and project last as long as the export.
    """

    statuses: frozenset[Status] = frozenset()
    types: frozenset[str] = frozenset()
    project_id: str | None = None

    def matches(self, job: Job) -> bool:
        """Check the conditions on the state of a job."""
        return self._has_shown_kind(job) and (not self.statuses or job.status in self.statuses)

    def may_have_matched(self, job: Job) -> bool:
        """Check whether an earlier state of the job may have met the conditions."""
        earlier = {Status.PENDING}
        if job.attempt > 1 or job.started_at is not None:
            earlier.add(Status.PROCESSING)
        if job.attempt > 1:
            earlier |= _ENDS_BEFORE_RETRY
        return self._has_shown_kind(job) and not earlier.isdisjoint(self.statuses)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what `matches` checks of type and project, for a query that is to use the index of the project."""
        return self._kind(JOBS.c.type, JOBS.c.project_id)

    def residual_conditions(self, *, with_earlier: bool = False) -> list[ColumnElement[bool]]:
        """Return what `matches` checks, for a query that an index of other columns limits.

        With `with_earlier` the query also returns what `may_have_matched`. Neither database has an index for these
        expressions, and so cannot choose one that leads to far more rows.
        """
        status = _without_index(JOBS.c.status)
        kind = self._kind(_without_index(JOBS.c.type), _without_index(JOBS.c.project_id))
        if not with_earlier or not self.statuses:
            return kind + self._among_statuses(status)
        if Status.PENDING in self.statuses:
            return kind  # each export was pending
        earlier = self._among_statuses(status)
        if not self.statuses.isdisjoint((Status.PROCESSING, *_ENDS_BEFORE_RETRY)):
            earlier.append(JOBS.c.attempt > 1)
        if Status.PROCESSING in self.statuses:
            earlier.append(JOBS.c.started_at.is_not(None))
        return [*kind, or_(*earlier)]

    def _has_shown_kind(self, job: Job) -> bool:
        has_type = not self.types or job.type in self.types
        return has_type and self.project_id in (None, job.project_id)

    def _kind(self, type_: ColumnElement[str], project_id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        has_type: list[ColumnElement[bool]] = [type_.in_(sorted(self.types))] if self.types else []
        return has_type if self.project_id is None else [*has_type, project_id == self.project_id]

    def _among_statuses(self, status: ColumnElement[str]) -> list[ColumnElement[bool]]:
        return [status.in_(sorted(self.statuses))] if self.statuses else []


EVERY_EXPORT = ExportFilter()


def _without_index(column: ColumnElement[str]) -> ColumnElement[str]:
    return column.op("||")("")
