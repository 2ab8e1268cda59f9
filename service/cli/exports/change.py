"""The commands that change exports: edit, cancel, retry, purge."""

from pathlib import Path

from framehook import Client, FramehookError
from framehook.settings import DEFAULT_URL
from service.cli.console import to_printable
from service.cli.errors import confirm, print_errors
from service.cli.exports.filters import FilterOptions
from service.cli.exports.follow import command_line, follow, print_job
from service.cli.exports.labels import LabelOptions
from service.cli.exports.schedule import NewPriority
from service.cli.exports.selection import CANCEL, RETRY, change_all, select_exports
from service.cli.exports.target import OutputOptions
from service.cli.option_groups import expand_groups
from service.cli.options import (
    AsJson,
    JobId,
    OptionalJobId,
    Server,
    Token,
    Watch,
    Yes,
    open_client,
)
from service.cli.records import print_removal


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


@expand_groups
def cancel(
    job_id: OptionalJobId = None,
    *,
    conditions: FilterOptions,
    yes: Yes = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an export, or all that meet conditions.

    What has ended stays as it is. With conditions the command asks first. The exit status is 1 if some of them could
    not be cancelled.
    """
    with print_errors(), open_client(server, token) as client:
        filters = select_exports(job_id, conditions, CANCEL)
        if filters is not None:
            change_all(client, CANCEL, filters, yes=yes, as_json=as_json)
        elif job_id is not None:
            job = client.cancel(job_id)
            print_job(job, f"Export {job.job_id} is {job.status}.", as_json)


@expand_groups
def retry(
    job_id: OptionalJobId = None,
    *,
    watch: Watch = False,
    saving: OutputOptions,
    conditions: FilterOptions,
    yes: Yes = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Retry an export, or all that meet conditions.

    Those that failed or were cancelled start again. With conditions the command asks first. The exit status is 1 if
    some can't start now: their last attempt is still ending, or another export has their output key.
    """
    with print_errors(), open_client(server, token) as client:
        target, filters = saving.find_target(), select_exports(job_id, conditions, RETRY)
        if filters is None and job_id is not None:
            _retry_one(client, job_id, target, watch=watch, as_json=as_json)
        elif watch or target:
            raise FramehookError("--watch and --output are for one export; watch several with their batch")
        elif filters is not None:
            change_all(client, RETRY, filters, yes=yes, as_json=as_json)


def _retry_one(client: Client, job_id: str, target: Path | None, *, watch: bool, as_json: bool) -> None:
    job = client.retry(job_id)
    if watch or target:
        follow(client, job, target, as_json)
    hint = f"Watch it: {command_line('watch', client, job.job_id)}"
    print_job(job, f"Export {job.job_id} is {job.status} again. {hint}", as_json)


def purge(
    job_id: JobId,
    *,
    yes: Yes = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Erase an export and its file for good.

    Its config, its timeline and the bodies of its webhook deliveries go with it; an export that is active is cancelled
    first. What is erased cannot be restored.
    """
    with print_errors(), open_client(server, token) as client:
        if not yes:
            confirm(f"Erase the export {to_printable(job_id)} and its file for good?", "--yes")
        client.purge(job_id)
        print_removal("erased", job_id, f"The export {job_id} is erased.", as_json=as_json)
