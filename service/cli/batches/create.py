"""The command that creates a batch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from framehook import Batch, Client, NewExport
from framehook.settings import DEFAULT_URL
from service.cli.batches.follow import follow_batch, print_batch
from service.cli.batches.request_file import BatchFile, read_batch
from service.cli.errors import print_errors
from service.cli.exports.filters import parse_metadata
from service.cli.exports.follow import command_line
from service.cli.option_groups import expand_groups
from service.cli.options import AsJson, Server, Token, open_client

Source = Annotated[
    Path, typer.Argument(metavar="FILE|-", help="JSON file with the exports; - is the standard input.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Show the progress until all exports have ended.")]


@dataclass(frozen=True)
class BatchOptions:
    """What a new batch is called, and the key of its request."""

    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="What people call the batch.")
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", metavar="KEY=VALUE", help="Metadata of the batch; may be repeated. Values are text."
        ),
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="The same command with the same key creates one batch."
        ),
    ] = None


@expand_groups
def create(
    source: Source,
    *,
    options: BatchOptions,
    wait: Wait = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create up to 1,000 exports together: all of them, or none.

    The file has a batch as `POST /api/batches` takes it, a list of exports, or an export in each line. With --wait the
    exit status is 0 if all exports are complete, else 1.
    """
    with print_errors(), open_client(server, token) as client:
        batch = _submit(client, read_batch(source), options)
        watch = command_line("batch watch", client, batch.batch_id)
        sentence = f"Batch {batch.batch_id} has {batch.total} exports. Watch it: {watch}"
        if as_json or not wait:
            print_batch(batch, sentence, as_json=as_json)
        if not as_json:
            _print_secrets(batch)
        if wait:
            follow_batch(client, batch, as_json=as_json)


def _submit(client: Client, content: BatchFile, options: BatchOptions) -> Batch:
    """Create the batch of a file; options replace what the file says."""
    return client.batches.create(
        cast(list[NewExport], content.exports),  # the service says what is wrong in them
        name=content.name if options.name is None else options.name,
        metadata=content.metadata if options.metadata is None else parse_metadata(options.metadata),
        idempotency_key=options.idempotency_key,
    )


def _print_secrets(batch: Batch) -> None:
    """Print the secrets of the exports' own endpoints, which no later answer has."""
    for export in batch.exports:
        if export.webhook is not None:
            typer.echo(f"Webhook secret of {export.job_id} (shown only once): {export.webhook.secret}")
