"""Options of webhooks: which events of which exports."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from framehook import FramehookError
from framehook.names import EventName, FormatName
from framehook.options import to_conditions
from service.cli.exports.filters import FilterOptions

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


Format = Annotated[
    FormatName | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"Format of the bodies: {', '.join(FormatName)}.  [default: standard]",
        show_default=False,
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="NAME:VALUE", help="Header to send with each delivery; repeat for several."
    ),
]
RateLimit = Annotated[
    float | None,
    typer.Option("--rate-limit", metavar="NUMBER", min=0, help="Deliveries per second at most; 0: no limit."),
]


def parse_headers(headers: Sequence[str] | None) -> dict[str, str]:
    """Return the headers that are given as `NAME: VALUE`; raises BadParameter."""
    pairs = [header.partition(":") for header in headers or ()]
    if any(not name.strip() or not value.strip() for name, _, value in pairs):
        # Without the text itself: it may be a secret.
        raise typer.BadParameter("give the name and the value of each: --header 'X-Api-Key: VALUE'")
    return {name.strip(): value.strip() for name, _, value in pairs}


def select_given(**changes: Any) -> dict[str, Any]:
    """Return the changes that are not None; raises FramehookError if there are none."""
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise FramehookError("give what should change: see `framehook webhooks update --help`")
    return given


def to_events(events: Sequence[EventName] | None) -> list[str] | None:
    """Return the names of events; None if none are given."""
    return [event.value for event in events] if events else None


def to_filter(conditions: FilterOptions) -> dict[str, Any] | None:
    """Return the filter of an endpoint for these options; None if none is given. Raises BadParameter."""
    return to_conditions(conditions.to_filters()) or None
