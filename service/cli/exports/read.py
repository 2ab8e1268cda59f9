"""The commands that read exports: show, watch, list."""

from datetime import UTC, datetime
from itertools import islice

import msgspec
import typer

from framehook.models import Exports
from framehook.settings import DEFAULT_URL
from service.cli.console import exports_table, print_table, timeline_lines
from service.cli.errors import print_errors
from service.cli.exports.filters import FilterOptions
from service.cli.exports.follow import follow
from service.cli.exports.target import OutputOptions
from service.cli.option_groups import expand_groups
from service.cli.options import AsJson, JobId, Limit, Server, Token, open_client
from service.cli.records import print_record


def show(job_id: JobId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show all that is known of an export, and its timeline."""
    with print_errors(), open_client(server, token) as client:
        job = client.get(job_id)
        print_record(job, as_json=as_json)
        if not as_json:
            typer.echo("\n".join(("", *timeline_lines(client.timeline(job)))))


@expand_groups
def watch(
    job_id: JobId,
    *,
    saving: OutputOptions,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the progress of an export until it has ended.

    The exit status is 0 if the export is complete, 1 if it failed or was cancelled. Ctrl-C ends the command, not the
    export.
    """
    with print_errors(), open_client(server, token) as client:
        target = saving.find_target()
        follow(client, client.get(job_id), target, as_json)


@expand_groups
def list_(
    *,
    conditions: FilterOptions,
    limit: Limit = 20,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List exports, newest first."""
    with print_errors(), open_client(server, token) as client:
        exports = tuple(islice(client.list(**conditions.to_filters()), limit))
        if as_json:
            typer.echo(msgspec.json.encode(Exports(exports)).decode())
        elif exports:
            print_table(exports_table(exports, datetime.now(UTC)))
        else:
            typer.echo("There are no exports.")
