"""Options of webhooks: which events of which exports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from framehook.names import EventName, StatusName
from service.cli.exports.labels import parse_metadata

EVENTS = ", ".join(EventName)

EndpointId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the endpoint, as `framehook webhooks list` shows it.")
]
Events = Annotated[
    list[EventName] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help=f"Event to send: {EVENTS}; repeat for several.  [default: all but export.progress]",
        show_default=False,
    ),
]
NewEvents = Annotated[
    list[EventName] | None,
    typer.Option(
        "--event", metavar="EVENT", help=f"Event to send from now on: {EVENTS}; repeat for several."
    ),
]


def to_events(events: Sequence[EventName] | None) -> list[str] | None:
    """Return the names of events; None if none are given."""
    return [event.value for event in events] if events else None


def to_filter(
    status: Sequence[StatusName] | None,
    types: Sequence[str] | None,
    project_id: str | None,
    metadata: Sequence[str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
) -> dict[str, Any] | None:
    """Return the filter of an endpoint for these options; None if none is given. Raises BadParameter."""
    conditions = {
        "status": [state.value for state in status or ()],
        "type": list(types or ()),
        "project_id": project_id,
        "metadata": parse_metadata(metadata),
        "created_after": created_after.isoformat() if created_after else None,
        "created_before": created_before.isoformat() if created_before else None,
    }
    return {name: value for name, value in conditions.items() if value} or None
