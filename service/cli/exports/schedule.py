"""Options that say when an export may start, before which others, and how much time and money it has."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from framehook.names import PriorityName
from framehook.options import ExportOptions
from service.cli.exports.filters import parse_moment

NewPriority = Annotated[
    PriorityName | None, typer.Option("--priority", help="Start before your other exports, or after them.")
]


@dataclass(frozen=True)
class ScheduleOptions:
    """When a new export may start, and what it may take."""

    priority: Annotated[
        PriorityName,
        typer.Option(
            "--priority", help="Start before your normal exports that came minutes earlier, or after."
        ),
    ] = "normal"
    not_before: Annotated[
        datetime | None,
        typer.Option(
            "--not-before", metavar="TIME", parser=parse_moment, help="Start at this time or later."
        ),
    ] = None
    start_within: Annotated[
        float | None,
        typer.Option(
            "--start-within",
            metavar="SECONDS",
            min=1,
            help="Fail if the export has not started after this time.",
        ),
    ] = None
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline", metavar="SECONDS", min=1, help="Fail if the export is not complete after this time."
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost", metavar="USD", min=0.000_001, help="Stop the export when it has cost so much."
        ),
    ] = None
    expires_in_days: Annotated[
        int | None,
        typer.Option(
            "--expires-in-days", metavar="DAYS", min=1, help="Delete the file so many days after today."
        ),
    ] = None

    def to_options(self) -> ExportOptions:
        """Return the fields of a new export."""
        return {
            "priority": self.priority,
            "not_before": self.not_before,
            "start_within_seconds": self.start_within,
            "deadline_seconds": self.deadline,
            "max_cost_usd": self.max_cost,
            "expires_in_days": self.expires_in_days,
        }
