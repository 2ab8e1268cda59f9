"""The commands that read batches: show, list, watch."""

from itertools import islice
from typing import Annotated

import msgspec
import typer

from framehook.batches.models import BatchPage
from framehook.settings import DEFAULT_URL
from service.cli.batches.follow import describe_counts, follow_batch
from service.cli.console import escape_cell, print_table
from service.cli.errors import print_errors
from service.cli.options import AsJson, Limit, Server, Token, open_client
from service.cli.records import print_record
from service.cli.webhooks.output import create_table, format_time

BatchId = Annotated[
    str, typer.Argument(metavar="BATCH", help="Id of the batch, as `framehook batch list` shows it.")
]


def show(
    batch_id: BatchId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Show the counts, the progress and the cost of a batch."""
    with print_errors(), open_client(server, token) as client:
        print_record(client.batches.get(batch_id), as_json=as_json)


def watch(
    batch_id: BatchId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Show the progress of a batch until all of its exports have ended.

    The exit status is 0 if all are complete, else 1. Ctrl-C ends the command, not the exports.
    """
    with print_errors(), open_client(server, token) as client:
        follow_batch(client, client.batches.get(batch_id), as_json=as_json)


def list_(
    *, limit: Limit = 20, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List batches, newest first."""
    with print_errors(), open_client(server, token) as client:
        batches = tuple(islice(client.batches.list(), limit))
    if as_json:
        typer.echo(msgspec.json.encode(BatchPage(batches)).decode())
        return
    if not batches:
        typer.echo("There are no batches.")
        return
    table = create_table("BATCH", "CREATED", "EXPORTS", "%", "NAME", "STATES")
    for batch in batches:
        cells = (batch.batch_id, format_time(batch.created_at), str(batch.total), f"{batch.progress:.0f}")
        table.add_row(*map(escape_cell, (*cells, batch.name or "", describe_counts(batch))))
    print_table(table)
