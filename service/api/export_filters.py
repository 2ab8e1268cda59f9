"""The filters of lists and streams in a query string: the same names, the same meaning."""

from typing import Annotated

import pydantic

from gpu.export_types.registry import ExportTypeName
from service.api.request_ids import ProjectText
from service.api.requests import StrictModel
from service.jobs.filters import ExportFilter
from service.jobs.models import Status

MAX_VALUES = 20


class FilterQuery(StrictModel):
    """`?status=&type=&project_id=`; status and type may be repeated, and each condition has to be met."""

    status: Annotated[tuple[Status, ...], pydantic.Field(max_length=MAX_VALUES)] = ()
    type: Annotated[tuple[ExportTypeName, ...], pydantic.Field(max_length=MAX_VALUES)] = ()
    project_id: ProjectText | None = None

    def to_filter(self) -> ExportFilter:
        """Return the filter that these parameters describe."""
        return ExportFilter(frozenset(self.status), frozenset(self.type), self.project_id)


class StreamQuery(FilterQuery):
    """The filters of a stream or a socket, and the ticket of a client that can't set headers."""

    ticket: str | None = None


class EventStreamQuery(StreamQuery):
    """The same, and what a client sends that can't set `Last-Event-ID`."""

    last_event_id: Annotated[str | None, pydantic.Field(alias="lastEventId")] = None
