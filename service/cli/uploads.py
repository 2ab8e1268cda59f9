"""The commands on uploads of a running service: `framehook uploads …`."""

from itertools import islice
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from framehook.models import Uploads
from framehook.settings import DEFAULT_URL
from service.cli.console import escape_cell, print_table, to_printable
from service.cli.errors import confirm, print_errors
from service.cli.options import AsJson, Limit, Server, Token, Yes, command_group, examples, open_client

uploads = command_group("Manage uploaded files.")

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="Key of the file, as `framehook uploads list` shows it.")
]


@uploads.command("list", epilog=examples("framehook uploads list", "framehook uploads list --limit 100"))
def list_(
    *, limit: Limit = 20, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List uploaded files, newest first."""
    with print_errors(), open_client(server, token) as client:
        files = tuple(islice(client.list_uploads(), limit))
    if as_json:
        typer.echo(msgspec.json.encode(Uploads(files)).decode())
        return
    if not files:
        typer.echo("There are no uploads.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("KEY", "BYTES", "STATE", "CREATED", "USED BY"):
        table.add_column(heading, no_wrap=heading == "KEY")
    for file in files:
        created = file.created_at.strftime("%Y-%m-%d %H:%M")
        users = ", ".join(file.used_by)
        table.add_row(escape_cell(file.key), str(file.size), file.state, created, escape_cell(users))
    print_table(table)


@uploads.command(epilog=examples("framehook uploads delete KEY", "framehook uploads delete KEY --yes"))
def delete(key: Key, *, yes: Yes = False, server: Server = DEFAULT_URL, token: Token = None) -> None:
    """Delete an uploaded file that no active export reads."""
    with print_errors(), open_client(server, token) as client:
        if not yes:
            confirm(f"Delete {to_printable(key)}?", "--yes")
        client.delete_upload(key)
        typer.echo(to_printable(f"{key} is deleted."))
