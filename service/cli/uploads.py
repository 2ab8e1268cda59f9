"""The commands on uploads of a running service: `framehook uploads …`."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from framehook.models import StoredFile, Uploads
from framehook.settings import DEFAULT_URL
from service.cli.console import byte_callback, escape_cell, print_table, to_printable
from service.cli.errors import confirm, print_errors
from service.cli.exports.check import check_video
from service.cli.exports.follow import open_display
from service.cli.options import AsJson, Limit, Server, Token, Yes, command_group, examples, open_client
from service.cli.records import print_removal

uploads = command_group("Manage uploaded files.")

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="Key of the file, as `framehook uploads list` shows it.")
]


@uploads.command(epilog=examples("framehook uploads add match.mp4", "framehook uploads add match.mp4 --json"))
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Video to upload.")],
    *,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Upload a video and print its key, which exports take as `input_key`.

    An interrupted upload goes on when the same command runs again.
    """
    with print_errors(), open_client(server, token) as client:
        check_video(file)
        with open_display(as_json) as display:
            key = client.upload(file, on_progress=byte_callback(display, "uploading"))
        typer.echo(msgspec.json.encode(StoredFile(key)).decode() if as_json else to_printable(key))


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
def delete(
    key: Key,
    *,
    yes: Yes = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete an uploaded file that no active export reads."""
    with print_errors(), open_client(server, token) as client:
        if not yes:
            confirm(f"Delete {to_printable(key)}?", "--yes")
        client.delete_upload(key)
        print_removal("deleted", key, f"{key} is deleted.", as_json=as_json)
