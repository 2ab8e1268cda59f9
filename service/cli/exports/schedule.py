"""Options that say when an export may start, before which others, and how much time and money it has."""

from datetime import datetime
from typing import Annotated

import typer

from framehook.names import PriorityName
from framehook.options import ExportOptions
from service.cli.exports.labels import parse_moment

Priority = Annotated[
    PriorityName,
    typer.Option("--priority", help="Start before your normal exports that came minutes earlier, or after."),
]
NewPriority = Annotated[
    PriorityName | None, typer.Option("--priority", help="Start before your other exports, or after them.")
]
NotBefore = Annotated[
    datetime | None,
    typer.Option("--not-before", metavar="TIME", parser=parse_moment, help="Start at this time or later."),
]
StartWithin = Annotated[
    float | None,
    typer.Option(
        "--start-within", metavar="SECONDS", min=1, help="Fail if the export has not started after this time."
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline", metavar="SECONDS", min=1, help="Fail if the export is not complete after this time."
    ),
]
ExpiresInDays = Annotated[
    int | None,
    typer.Option(
        "--expires-in-days", metavar="DAYS", min=1, help="Delete the file so many days after today."
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost", metavar="USD", min=0.000_001, help="Stop the export when it has cost so much."
    ),
]


def to_schedule(
    priority: PriorityName,
    not_before: datetime | None,
    start_within: float | None,
    deadline: float | None,
    expires_in_days: int | None,
) -> ExportOptions:
    """Return the fields of a new export for these options."""
    return {
        "priority": priority,
        "not_before": not_before,
        "start_within_seconds": start_within,
        "deadline_seconds": deadline,
        "expires_in_days": expires_in_days,
    }
