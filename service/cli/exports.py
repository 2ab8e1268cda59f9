"""The commands on exports of a running service: export, watch, list, cancel, retry, purge."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from framehook import Client, Export, FramehookError
from framehook.models import Exports
from framehook.options import Filters
from framehook.settings import DEFAULT_URL
from gpu.export_types.registry import BUILT_IN
from service.cli import export_labels, schedule_options
from service.cli.console import (
    ExportDisplay,
    NoProgress,
    ProgressDisplay,
    byte_callback,
    describe_result,
    exports_table,
    print_table,
    progress_display,
    to_printable,
)
from service.cli.errors import FAILED_STATUS, exit_with, print_errors
from service.cli.export_check import check_config, check_video, read_config, validate_output_path
from service.cli.options import (
    AsJson,
    JobId,
    Limit,
    Output,
    Server,
    Token,
    Watch,
    Yes,
    examples,
    open_client,
)
from service.cli.submission import Submission
from service.jobs.queue.priorities import Priority
from service.startup.commands import INTERRUPTED_STATUS

TYPES = f"{', '.join(BUILT_IN)}, or a type of an installed package"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command(
        epilog=examples(
            "framehook export match.mp4 --type framing --config crop.json --watch",
            "framehook export match.mp4 --type framing --config crop.json -o out.mp4",
        )
    )(export)
    app.command(epilog=examples("framehook watch JOB", "framehook watch JOB --output vertical.mp4"))(watch)
    app.command(
        "list",
        epilog=examples(
            "framehook list --status processing --limit 50", "framehook list --metadata order=A-1024"
        ),
    )(list_)
    app.command(epilog=examples("framehook cancel JOB"))(cancel)
    app.command(epilog=examples("framehook retry JOB --watch"))(retry)
    app.command(epilog=examples("framehook purge JOB", "framehook purge JOB --yes"))(purge)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Video to export.")],
    *,
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help=f"Type of the export: {TYPES}.")],
    config: Annotated[
        str,
        typer.Option(metavar="FILE|JSON", help="Parameters of the type: a JSON file, or the JSON itself."),
    ] = "{}",
    name: export_labels.Name = None,
    metadata: export_labels.Metadata = None,
    project_id: export_labels.ProjectId = None,
    priority: schedule_options.Priority = Priority.NORMAL,
    not_before: schedule_options.NotBefore = None,
    start_within: schedule_options.StartWithin = None,
    deadline: schedule_options.Deadline = None,
    watch: Watch = False,
    output: Output = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Upload a video and create an export of it."""
    with print_errors(), open_client(server, token) as client:
        parameters = read_config(config)
        check_video(file)
        check_config(type_, parameters)
        target = validate_output_path(output)
        options = export_labels.to_labels(name, metadata, project_id)
        options |= schedule_options.to_schedule(priority, not_before, start_within, deadline)
        job = Submission(client, file, options).run(type_, parameters, lambda: _display(as_json))
        if watch or target:
            _follow(client, job, target, as_json)
        _print_job(
            job, f"Export {job.job_id} is {job.status}. Watch it: {_command('watch', client, job)}", as_json
        )


def watch(
    job_id: JobId,
    *,
    output: Output = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the progress of an export until it has ended.

    The exit status is 0 if the export is complete, 1 if it failed or was cancelled.
    """
    with print_errors(), open_client(server, token) as client:
        _follow(client, client.get(job_id), validate_output_path(output), as_json)


def list_(
    *,
    status: export_labels.StatusFilter = None,
    type_: export_labels.TypeFilter = None,
    project_id: export_labels.ProjectFilter = None,
    metadata: export_labels.MetadataFilter = None,
    created_after: export_labels.CreatedAfter = None,
    created_before: export_labels.CreatedBefore = None,
    limit: Limit = 20,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List exports, newest first."""
    with print_errors(), open_client(server, token) as client:
        filters: Filters = {
            "status": status,
            "type": type_,
            "project_id": project_id,
            "metadata": export_labels.parse_metadata(metadata),
            "created_after": created_after,
            "created_before": created_before,
        }
        exports = tuple(islice(client.list(**filters), limit))
        if as_json:
            typer.echo(msgspec.json.encode(Exports(exports)).decode())
        elif exports:
            print_table(exports_table(exports, datetime.now(UTC)))
        else:
            typer.echo("There are no exports.")


def cancel(job_id: JobId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Cancel an export that has not ended."""
    with print_errors(), open_client(server, token) as client:
        job = client.cancel(job_id)
        _print_job(job, f"Export {job.job_id} is {job.status}.", as_json)


def retry(
    job_id: JobId,
    *,
    watch: Watch = False,
    output: Output = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Retry an export that failed or was cancelled."""
    with print_errors(), open_client(server, token) as client:
        target = validate_output_path(output)
        job = client.retry(job_id)
        if watch or target:
            _follow(client, job, target, as_json)
        _print_job(
            job,
            f"Export {job.job_id} is {job.status} again. Watch it: {_command('watch', client, job)}",
            as_json,
        )


def purge(job_id: JobId, *, yes: Yes = False, server: Server = DEFAULT_URL, token: Token = None) -> None:
    """Erase an export and its file for good.

    Its config, its timeline and the bodies of its webhook deliveries go with it; an export that is active is cancelled
    first. What is erased cannot be restored.
    """
    with print_errors(), open_client(server, token) as client:
        if not yes:
            typer.confirm(f"Erase the export {job_id} and its file for good?", abort=True)
        client.purge(job_id)
        typer.echo(to_printable(f"The export {job_id} is erased."))


def _follow(client: Client, job: Export, target: Path | None, as_json: bool) -> NoReturn:
    """Watch a job until it ends, save its output, and exit with a status for its result."""
    try:
        with _display(as_json) as display:
            export_display = ExportDisplay(display)
            if job.name:
                display.note(job.name)
            for state in (
                [job] if job.is_final else client.watch(job, on_disconnect=export_display.on_disconnect)
            ):
                job = state
                export_display.show(job)
                if as_json:
                    typer.echo(msgspec.json.encode(state).decode())
        if job.status == "complete" and target is not None:
            with _display(as_json) as display:
                client.download(job, target, on_progress=byte_callback(display, "downloading"))
    except KeyboardInterrupt:
        hint = f"Watch it: {_command('watch', client, job)} · cancel it: {_command('cancel', client, job)}"
        exit_with(
            INTERRUPTED_STATUS, f"the export {'has ended' if job.is_final else 'is still running'}. {hint}"
        )
    except FramehookError as error:
        error.add_note(f"  watch it again with: {_command('watch', client, job)}")
        raise
    if job.status != "complete":
        exit_with(FAILED_STATUS, describe_result(job))
    location = f" Saved to {target}." if target else f" {job.output.url}" if job.output else ""
    if not as_json:
        typer.echo(describe_result(job) + location)
    raise typer.Exit


@contextmanager
def _display(as_json: bool) -> Iterator[ProgressDisplay]:
    if as_json:
        yield NoProgress()
        return
    with progress_display(Console(stderr=True)) as display:
        yield display


def _print_job(job: Export, sentence: str, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(job).decode() if as_json else to_printable(sentence))


def _command(name: str, client: Client, job: Export) -> str:
    """Return a command line for the same job and service."""
    server = f" --server {client.base_url}" if client.base_url != DEFAULT_URL else ""
    return f"framehook {name} {job.job_id}{server}"
