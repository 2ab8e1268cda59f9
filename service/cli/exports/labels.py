"""Options that name exports, and those that find them by what they are called."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from framehook.names import StatusName
from framehook.options import ExportEdits, ExportOptions

ExportId = Annotated[
    str | None,
    typer.Option(
        "--export-id", metavar="ID", help="Id of your choice; an export that has it already is returned."
    ),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="KEY", help="The same command with the same key creates one export."
    ),
]
Name = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="What people call the export.")]
ProjectId = Annotated[
    str | None, typer.Option("--project-id", metavar="ID", help="The project of the export.")
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="What the export is found by; may be repeated. Values are text.",
    ),
]
TypeFilter = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Only exports of this type; may be repeated."),
]
StatusFilter = Annotated[
    list[StatusName] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only exports in this state: pending, processing, complete, error or cancelled; may be repeated.",
    ),
]
ProjectFilter = Annotated[
    str | None, typer.Option("--project-id", metavar="ID", help="Only exports of this project.")
]
MetadataFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata", metavar="KEY=VALUE", help="Only exports with this in their metadata; may be repeated."
    ),
]


def parse_moment(text: str) -> datetime:
    """Parse a date or a time, without a time zone that of this machine; raises BadParameter."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; give one such as 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from None


CreatedAfter = Annotated[
    datetime | None,
    typer.Option(
        "--created-after",
        metavar="TIME",
        parser=parse_moment,
        help="Only exports created at this time or later.",
    ),
]
CreatedBefore = Annotated[
    datetime | None,
    typer.Option(
        "--created-before", metavar="TIME", parser=parse_moment, help="Only exports created before this time."
    ),
]


def to_labels(
    name: str | None, metadata: Sequence[str] | None, project_id: str | None, export_id: str | None
) -> ExportOptions:
    """Return the fields of a new export for these options; raises BadParameter."""
    return {
        "name": name,
        "metadata": parse_metadata(metadata),
        "project_id": project_id,
        "export_id": export_id,
    }


def to_edits(name: str | None, metadata: Sequence[str] | None, project_id: str | None) -> ExportEdits:
    """Return the fields to change for these options; an empty value removes one. Raises BadParameter."""
    edits: ExportEdits = {}
    if name is not None:
        edits["name"] = name or None
    if metadata is not None:
        edits["metadata"] = None if metadata == [""] else parse_metadata(metadata)
    if project_id is not None:
        edits["project_id"] = project_id or None
    return edits


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
