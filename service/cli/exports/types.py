"""The command that lists the export types of this machine."""

import msgspec
import typer
from rich.table import Table

from gpu.export_types.base import ExportType
from gpu.export_types.registry import get_export_types
from service.cli.console import print_table
from service.cli.options import AsJson


def types(*, as_json: AsJson = False) -> None:
    """List the export types of this machine.

    They are built in, or come from installed packages.
    """
    export_types = get_export_types().load_all()
    if as_json:
        typer.echo(msgspec.json.encode([_describe(export_type) for export_type in export_types]).decode())
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("TYPE", "OUTPUT", "DESCRIPTION"):
        table.add_column(column, overflow="fold")
    for export_type in export_types:
        table.add_row(export_type.name, export_type.content_type, export_type.description)
    print_table(table)


def _describe(export_type: ExportType) -> dict[str, str]:
    return {
        "type": export_type.name,
        "content_type": export_type.content_type,
        "suffix": export_type.suffix,
        "description": export_type.description,
    }
