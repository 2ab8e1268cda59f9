"""Options for an endpoint that gets the events of one export alone."""

from collections.abc import Sequence
from typing import Annotated

import typer

from framehook.names import EventName
from framehook.options import ExportOptions

Url = Annotated[
    str | None,
    typer.Option("--webhook-url", metavar="URL", help="URL that gets the events of this export alone."),
]
Events = Annotated[
    list[EventName] | None,
    typer.Option(
        "--webhook-event",
        metavar="EVENT",
        help="Event to send there; repeat for several.  [default: all but export.progress]",
        show_default=False,
    ),
]


def to_webhook(url: str | None, events: Sequence[EventName] | None) -> ExportOptions:
    """Return the fields of a new export for these options; raises BadParameter."""
    if events and url is None:
        raise typer.BadParameter("it needs --webhook-url.", param_hint="--webhook-event")
    return {"webhook_url": url, "webhook_events": [event.value for event in events] if events else None}
