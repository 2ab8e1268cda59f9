"""The filters of lists and streams in a query string, and of endpoints: the same names, the same meaning."""

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from gpu.export_types.registry import ExportTypeName
from service.api.request_ids import JobId, Metadata, MetadataParameters, Moment, ProjectId, ProjectText
from service.api.requests import StrictModel
from service.jobs.filters import ExportFilter
from service.jobs.metadata import to_text
from service.jobs.models import Status

MAX_VALUES = 20
METADATA_PREFIX = "metadata."

Statuses = Annotated[tuple[Status, ...], pydantic.Field(max_length=MAX_VALUES)]
Types = Annotated[tuple[ExportTypeName, ...], pydantic.Field(max_length=MAX_VALUES)]


class FilterQuery(StrictModel):
    """`?status=&type=&project_id=&batch_id=&metadata.KEY=&created_after=&created_before=`; all have to be met.

    Status and type may be repeated.
    """

    status: Statuses = ()
    type: Types = ()
    project_id: ProjectText | None = None
    metadata: MetadataParameters = {}  # noqa: RUF012 - pydantic copies it
    created_after: Moment | None = None
    created_before: Moment | None = None
    batch_id: JobId | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _gather_metadata(cls, parameters: Any) -> Any:
        """Make one field of the parameters `metadata.KEY`."""
        entries = {name: value for name, value in parameters.items() if name.startswith(METADATA_PREFIX)}
        if not entries or "metadata" in parameters:
            return parameters
        others = {name: value for name, value in parameters.items() if name not in entries}
        return others | {
            "metadata": {name.removeprefix(METADATA_PREFIX): value for name, value in entries.items()}
        }

    def to_filter(self) -> ExportFilter:
        """Return the filter that these parameters describe."""
        return _build_filter(self, self.project_id, self.metadata)


class EndpointFilter(StrictModel):
    """The filter of a webhook: the names and the meaning of the query strings, with metadata as an object."""

    status: Statuses = ()
    type: Types = ()
    project_id: ProjectId | None = None
    metadata: Metadata = {}  # noqa: RUF012 - pydantic copies it
    created_after: Moment | None = None
    created_before: Moment | None = None
    batch_id: JobId | None = None

    def to_filter(self) -> ExportFilter:
        """Return the filter that these conditions describe."""
        project_id = None if self.project_id is None else str(self.project_id)
        return _build_filter(self, project_id, {key: to_text(value) for key, value in self.metadata.items()})


def _build_filter(
    conditions: FilterQuery | EndpointFilter, project_id: str | None, metadata: Mapping[str, str]
) -> ExportFilter:
    return ExportFilter(
        frozenset(conditions.status),
        frozenset(conditions.type),
        project_id,
        tuple(sorted(metadata.items())),
        conditions.created_after.timestamp() if conditions.created_after else None,
        conditions.created_before.timestamp() if conditions.created_before else None,
        conditions.batch_id,
    )


class StreamQuery(FilterQuery):
    """The filters of a stream or a socket, and the ticket of a client that can't set headers."""

    ticket: str | None = None


class EventStreamQuery(StreamQuery):
    """The same, and what a client sends that can't set `Last-Event-ID`."""

    last_event_id: Annotated[str | None, pydantic.Field(alias="lastEventId")] = None
