"""The commands that change exports: edit, cancel, retry, purge."""

import typer

from framehook import FramehookError
from framehook.settings import DEFAULT_URL
from service.cli.console import to_printable
from service.cli.errors import confirm, print_errors
from service.cli.exports.check import validate_output_path
from service.cli.exports.follow import command_line, follow, print_job
from service.cli.exports.labels import LabelOptions
from service.cli.exports.schedule import NewPriority
from service.cli.option_groups import expand_groups
from service.cli.options import AsJson, JobId, Output, Server, Token, Watch, Yes, open_client


@expand_groups
def edit(
    job_id: JobId,
    *,
    labels: LabelOptions,
    priority: NewPriority = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change the name, metadata, project or priority of an export.

    An empty value removes what it names: --name "". The metadata is replaced as a whole. The priority can change until
    the export starts.
    """
    with print_errors(), open_client(server, token) as client:
        edits = labels.to_edits()
        if priority is not None:
            edits["priority"] = priority
        if not edits:
            raise FramehookError("give what should change: --name, --metadata, --project-id or --priority")
        job = client.edit(job_id, **edits)
        print_job(job, f"Export {job.job_id} is changed.", as_json)


def cancel(job_id: JobId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Cancel an export that has not ended."""
    with print_errors(), open_client(server, token) as client:
        job = client.cancel(job_id)
        print_job(job, f"Export {job.job_id} is {job.status}.", as_json)


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
            follow(client, job, target, as_json)
        print_job(
            job,
            f"Export {job.job_id} is {job.status} again. Watch it: {command_line('watch', client, job)}",
            as_json,
        )


def purge(job_id: JobId, *, yes: Yes = False, server: Server = DEFAULT_URL, token: Token = None) -> None:
    """Erase an export and its file for good.

    Its config, its timeline and the bodies of its webhook deliveries go with it; an export that is active is cancelled
    first. What is erased cannot be restored.
    """
    with print_errors(), open_client(server, token) as client:
        if not yes:
            confirm(f"Erase the export {to_printable(job_id)} and its file for good?", "--yes")
        client.purge(job_id)
        typer.echo(to_printable(f"The export {job_id} is erased."))
