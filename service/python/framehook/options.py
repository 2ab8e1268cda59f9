"""Optional arguments that several methods share, and the callback of callers that want none."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

import msgspec

from framehook.http_client import Query
from framehook.models import Export
from framehook.names import PriorityName

ExportOrId = Export | str
"""An export, or its `job_id` or `export_id`."""
MetadataValue = str | bool | int | float
METADATA_PREFIX = "metadata."
_MILLISECOND = timedelta(milliseconds=1)


class ExportOptions(TypedDict, total=False):
    """Optional fields of a new export.

    `export_id` is an id of your own: creating it again returns the same export. `name` is for people, `metadata` for
    finding the export again. `webhook_url` gets the events of this export alone; `webhook_events` says which.
    The export does not start before `not_before`, which needs a time zone. It fails if no run starts within
    `start_within_seconds`, or if it is not complete within `deadline_seconds`.
    `expires_in_days` after the creation the file is deleted. When its attempts have cost `max_cost_usd` it is stopped.
    """

    export_id: str | None
    name: str | None
    metadata: Mapping[str, MetadataValue] | None
    project_id: str | int | None
    expires_in_days: int | None
    webhook_url: str | None
    webhook_events: Sequence[str] | None
    priority: PriorityName | None
    not_before: datetime | None
    start_within_seconds: float | None
    deadline_seconds: float | None
    max_cost_usd: float | None


class ExportEdits(TypedDict, total=False):
    """What can be changed of an export: what is given, and None removes it. `metadata` is replaced as a whole.

    `priority` can change while the export is pending.
    """

    name: str | None
    metadata: Mapping[str, MetadataValue] | None
    project_id: str | int | None
    priority: PriorityName


class Filters(TypedDict, total=False):
    """Which exports: all of the given conditions hold; of several states or types one is enough.

    A value in `metadata` matches numbers and booleans as well as their text. `created_after` belongs to the time that
    is shown, `created_before` does not.
    """

    status: str | Sequence[str] | None
    type: str | Sequence[str] | None
    project_id: str | int | None
    metadata: Mapping[str, MetadataValue] | None
    created_after: datetime | None
    created_before: datetime | None
    batch_id: str | None


def to_query(filters: Filters) -> Query:
    """Return the parameters of a query string."""
    conditions = to_conditions(filters)
    metadata = conditions.pop("metadata", {})
    return {**conditions, **{METADATA_PREFIX + key: value for key, value in metadata.items()}}


def to_conditions(filters: Filters) -> dict[str, Any]:
    """Return the conditions that are given as JSON."""
    status, types, project_id = filters.get("status"), filters.get("type"), filters.get("project_id")
    metadata = {key: metadata_text(value) for key, value in (filters.get("metadata") or {}).items()}
    return drop_none(
        {
            "status": [status] if isinstance(status, str) else status,
            "type": [types] if isinstance(types, str) else types,
            "project_id": None if project_id is None else str(project_id),
            "metadata": metadata or None,
            "created_after": _to_time(filters.get("created_after")),
            "created_before": _to_time(filters.get("created_before")),
            "batch_id": filters.get("batch_id"),
        }
    )


def drop_none(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def matches(filters: Filters, export: Export) -> bool:
    """Tell whether an export meets the conditions, as the service does; it shows times in milliseconds."""
    shown: dict[str, object] = {key: metadata_text(value) for key, value in export.metadata.items()}
    metadata = filters.get("metadata") or {}
    created_after, created_before = filters.get("created_after"), filters.get("created_before")
    project_id = filters.get("project_id")
    return (
        _is_among(export.status, filters.get("status"))
        and _is_among(export.type, filters.get("type"))
        and filters.get("batch_id") in (None, export.batch_id)
        and (project_id is None or str(export.project_id) == str(project_id))
        and all(shown.get(key) == metadata_text(value) for key, value in metadata.items())
        and (created_after is None or export.created_at + _MILLISECOND > created_after.astimezone())
        and (created_before is None or export.created_at < created_before.astimezone())
    )


def _is_among(value: str, wanted: str | Sequence[str] | None) -> bool:
    return wanted is None or value in ([wanted] if isinstance(wanted, str) else wanted)


def metadata_text(value: MetadataValue) -> str:
    """Return the text by which the service compares a value: of a number or a boolean its JSON."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _to_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone().isoformat()


def job_id_of(export: ExportOrId) -> str:
    return export.job_id if isinstance(export, Export) else export


def ignore(*_arguments: object) -> None:
    """Do nothing."""
