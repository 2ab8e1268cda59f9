"""Options that name exports."""

from dataclasses import dataclass
from typing import Annotated

import typer

from framehook.options import ExportEdits, ExportOptions
from service.cli.exports.filters import parse_metadata

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


@dataclass(frozen=True)
class LabelOptions:
    """What an export is called, and found by."""

    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="What people call the export.")
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="KEY=VALUE",
            help="What the export is found by; may be repeated. Values are text.",
        ),
    ] = None
    project_id: Annotated[
        str | None, typer.Option("--project-id", metavar="ID", help="The project of the export.")
    ] = None

    def to_options(self) -> ExportOptions:
        """Return the fields of a new export; raises BadParameter."""
        metadata = parse_metadata(self.metadata)
        return {"name": self.name, "metadata": metadata, "project_id": self.project_id}

    def to_edits(self) -> ExportEdits:
        """Return the fields to change; an empty value removes one. Raises BadParameter."""
        edits: ExportEdits = {}
        if self.name is not None:
            edits["name"] = self.name or None
        if self.metadata is not None:
            edits["metadata"] = None if self.metadata == [""] else parse_metadata(self.metadata)
        if self.project_id is not None:
            edits["project_id"] = self.project_id or None
        return edits
