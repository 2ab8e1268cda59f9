"""Options that find exports by what they are called, their state and their time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from framehook.names import StatusName
from framehook.options import Filters


def parse_moment(text: str) -> datetime:
    """Parse a date or a time, without a time zone that of this machine; raises BadParameter."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time; give one such as 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from None


def parse_metadata(items: Sequence[str] | None) -> dict[str, str]:
    """Parse the values of `--metadata`; raises BadParameter."""
    metadata = {}
    for item in items or ():
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{item!r} is not KEY=VALUE.", param_hint="--metadata")
        if key in metadata:
            raise typer.BadParameter(f"the key {key!r} is given twice.", param_hint="--metadata")
        metadata[key] = value
    return metadata


@dataclass(frozen=True)
class FilterOptions:
    """Which exports: all conditions hold; of several states or types one is enough."""

    status: Annotated[
        list[StatusName] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only exports in this state: pending, processing, complete, error or cancelled; may be repeated.",
        ),
    ] = None
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only exports of this type; may be repeated."),
    ] = None
    project_id: Annotated[
        str | None, typer.Option("--project-id", metavar="ID", help="Only exports of this project.")
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="KEY=VALUE",
            help="Only exports with this in their metadata; may be repeated.",
        ),
    ] = None
    created_after: Annotated[
        datetime | None,
        typer.Option(
            "--created-after",
            metavar="TIME",
            parser=parse_moment,
            help="Only exports created at this time or later.",
        ),
    ] = None
    created_before: Annotated[
        datetime | None,
        typer.Option(
            "--created-before",
            metavar="TIME",
            parser=parse_moment,
            help="Only exports created before this time.",
        ),
    ] = None
    batch_id: Annotated[
        str | None, typer.Option("--batch-id", metavar="BATCH", help="Only exports of this batch.")
    ] = None

    def to_filters(self) -> Filters:
        """Return the conditions for the client; raises BadParameter."""
        return {
            "status": self.status,
            "type": self.type_,
            "project_id": self.project_id,
            "metadata": parse_metadata(self.metadata),
            "created_after": self.created_after,
            "created_before": self.created_before,
            "batch_id": self.batch_id,
        }
