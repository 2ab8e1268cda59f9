"""Optional arguments that several methods share, and the callback of callers that want none."""

from collections.abc import Sequence
from typing import TypedDict

from framehook.http_client import Query
from framehook.models import Export

ExportOrId = Export | str
"""An export, or its `job_id` or `export_id`."""


class ExportOptions(TypedDict, total=False):
    """Optional fields of a new export.

    `export_id` is an id of your own: creating it again returns the same export. `webhook_url` gets the events of this
    export alone; `webhook_events` says which.
    """

    export_id: str | None
    project_id: str | int | None
    webhook_url: str | None
    webhook_events: Sequence[str] | None


class Filters(TypedDict, total=False):
    """Which exports: all of the given conditions hold; of several states or types one is enough."""

    status: str | Sequence[str] | None
    type: str | Sequence[str] | None
    project_id: str | int | None


def to_query(filters: Filters) -> Query:
    project_id = filters.get("project_id")
    return {
        "status": filters.get("status"),
        "type": filters.get("type"),
        "project_id": None if project_id is None else str(project_id),
    }


def job_id_of(export: ExportOrId) -> str:
    return export.job_id if isinstance(export, Export) else export


def ignore(*_arguments: object) -> None:
    """Do nothing."""
