"""The filters of lists and streams in a query string, and of endpoints: the same names, the same meaning."""

from typing import Annotated, Any

import pydantic

from gpu.export_types.registry import ExportTypeName
from service.api.request_ids import MetadataParameters, Moment, ProjectText
from service.api.requests import StrictModel
from service.jobs.filters import ExportFilter
from service.jobs.models import Status

MAX_VALUES = 20
METADATA_PREFIX = "metadata."


class FilterQuery(StrictModel):
    """`?status=&type=&project_id=&metadata.KEY=&created_after=&created_before=`; each condition has to be met.

    Status and type may be repeated.
    """

    status: Annotated[tuple[Status, ...], pydantic.Field(max_length=MAX_VALUES)] = ()
    type: Annotated[tuple[ExportTypeName, ...], pydantic.Field(max_length=MAX_VALUES)] = ()
    project_id: ProjectText | None = None
    metadata: MetadataParameters = {}  # noqa: RUF012 - pydantic copies it
    created_after: Moment | None = None
    created_before: Moment | None = None

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
        return ExportFilter(
            frozenset(self.status),
            frozenset(self.type),
            self.project_id,
            tuple(sorted(self.metadata.items())),
            self.created_after.timestamp() if self.created_after else None,
            self.created_before.timestamp() if self.created_before else None,
        )


class StreamQuery(FilterQuery):
    """The filters of a stream or a socket, and the ticket of a client that can't set headers."""

    ticket: str | None = None


class EventStreamQuery(StreamQuery):
    """The same, and what a client sends that can't set `Last-Event-ID`."""

    last_event_id: Annotated[str | None, pydantic.Field(alias="lastEventId")] = None
