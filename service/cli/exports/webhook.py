"""Options for an endpoint that gets the events of one export alone."""

from dataclasses import dataclass
from typing import Annotated

import typer

from framehook.names import EventName
from framehook.options import ExportOptions


@dataclass(frozen=True)
class WebhookOptions:
    """Where the events of a new export go, and which."""

    webhook_url: Annotated[
        str | None,
        typer.Option("--webhook-url", metavar="URL", help="URL that gets the events of this export alone."),
    ] = None
    webhook_event: Annotated[
        list[EventName] | None,
        typer.Option(
            "--webhook-event",
            metavar="EVENT",
            help="Event to send there; repeat for several.  [default: all but export.progress]",
            show_default=False,
        ),
    ] = None

    def to_options(self) -> ExportOptions:
        """Return the fields of a new export; raises BadParameter."""
        if self.webhook_event and self.webhook_url is None:
            raise typer.BadParameter("it needs --webhook-url.", param_hint="--webhook-event")
        events = [event.value for event in self.webhook_event] if self.webhook_event else None
        return {"webhook_url": self.webhook_url, "webhook_events": events}
