"""The commands that talk to a running service: export, watch, list, cancel, retry."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from gpu.export_types.registry import BUILT_IN
from service.cli.console import (
    NoProgress,
    ProgressDisplay,
    WatchDisplay,
    byte_callback,
    describe_result,
    progress_display,
    table,
    to_printable,
)
from service.cli.export_check import check_config, check_video, read_config, validate_output_path
from service.client import Client, ClientError, Export, RequestRejected, default_folder
from service.jobs.models import Status

DEFAULT_SERVER = "http://127.0.0.1:8000"
PIPE_WIDTH = 240
FAILED, TROUBLE, INTERRUPTED = 1, 2, 130
SOURCE_FIELD = "config.input_key"
TYPES = f"{', '.join(BUILT_IN)}, or a type of an installed package"

Job = Annotated[str, typer.Argument(metavar="JOB", help="The job id.")]
Server = Annotated[str, typer.Option("--server", envvar="FRAMEHOOK_URL", help="Where the service is.")]
Token = Annotated[str | None, typer.Option("--token", envvar="FRAMEHOOK_TOKEN", help="A bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Where to save the exported file, once it is complete; waits for that."
    ),
]


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The video.")],
    *,
    type_: Annotated[str, typer.Option("--type", help=f"The type of the export: {TYPES}.")],
    config: Annotated[
        str, typer.Option(metavar="FILE|JSON", help="The type's parameters: a file, or JSON as it is.")
    ] = "{}",
    watch: Annotated[bool, typer.Option("--watch", help="Show the progress until it has ended.")] = False,
    output: Output = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a video and export it."""
    with print_errors(), Client(server, token, resume_folder=default_folder()) as client:
        parameters = read_config(config)
        check_video(file)
        check_config(type_, parameters)
        target = validate_output_path(output)
        job = _upload_and_submit(client, file, type_, parameters, as_json)
        if watch or target:
            _follow(client, job, target, as_json)
        _say(job, f"Export {job.job_id} is {job.status}. Watch it: {_command('watch', client, job)}", as_json)


def watch(
    job_id: Job,
    *,
    output: Output = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show an export's progress until it has ended."""
    with print_errors(), Client(server, token) as client:
        _follow(client, client.get(job_id), validate_output_path(output), as_json)


def list_(
    *,
    status: Annotated[Status | None, typer.Option(help="Only those.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only those.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List exports, newest first."""
    with print_errors(), Client(server, token) as client:
        page = client.list_recent(limit, status=status, type_=type_)
        if as_json:
            typer.echo(msgspec.json.encode(page).decode())
        elif page.exports:
            # A pipe has no width that anything would have to fit into.
            console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
            console.print(table(page.exports, datetime.now(UTC)))
        else:
            typer.echo("There are no exports.")


def cancel(
    job_id: Job, server: Server = DEFAULT_SERVER, token: Token = None, as_json: AsJson = False
) -> None:
    """Cancel an export."""
    with print_errors(), Client(server, token) as client:
        job = client.cancel(job_id)
        _say(job, f"Export {job.job_id} is {job.status}.", as_json)


def retry(
    job_id: Job,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show the progress until it has ended.")] = False,
    output: Output = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Try a failed or cancelled export again."""
    with print_errors(), Client(server, token) as client:
        target = validate_output_path(output)
        job = client.retry(job_id)
        if watch or target:
            _follow(client, job, target, as_json)
        _say(
            job,
            f"Export {job.job_id} is {job.status} again. Watch it: {_command('watch', client, job)}",
            as_json,
        )


@contextmanager
def print_errors() -> Iterator[None]:
    """Whatever goes wrong inside is told in a sentence, and in the exit status."""
    try:
        yield
    except ClientError as error:
        _end(TROUBLE, str(error))
    except BrokenPipeError:
        raise  # whoever read this has gone; click ends quietly
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(TROUBLE, f"{where}{(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "interrupted")


def _upload_and_submit(
    client: Client, file: Path, type_: str, parameters: dict[str, Any], as_json: bool
) -> Export:
    """The export of a file, which is sent unless that was done before by a command that got no further."""
    key = client.stored_key(file)
    if key is not None:
        try:
            return _submit(client, file, type_, parameters | {"input_key": key})
        except RequestRejected as refusal:
            if SOURCE_FIELD not in refusal.fields:
                raise
            client.forget(file)  # it was removed meanwhile
    key = _sent(client, file, as_json)
    client.save_key(file, key)
    return _submit(client, file, type_, parameters | {"input_key": key})


def _submit(client: Client, file: Path, type_: str, config: dict[str, Any]) -> Export:
    """The export, started; if it is not, the user learns where his video is."""
    hint = f"the video is stored as {config['input_key']}"
    if client.stored_key(file) is not None:
        hint += "; the next export of this file uses it and sends nothing"
    try:
        job = client.submit(type_, config)
    except KeyboardInterrupt:
        _end(INTERRUPTED, f"interrupted\n  {hint}")
    except RequestRejected as refusal:
        raise RequestRejected(refusal.status, f"{refusal}\n  {hint}", refusal.fields) from refusal
    except ClientError as error:
        raise ClientError(f"{error}\n  {hint}") from error
    client.forget(file)
    return job


def _sent(client: Client, file: Path, as_json: bool) -> str:
    """The key of the file, once it is stored; what was cut is told how to go on."""
    try:
        with _progress_display(as_json) as shown:
            if client.can_resume(file):
                shown.note("Going on with an upload that was cut.")
            return client.upload(file, byte_callback(shown, "sending"))
    except KeyboardInterrupt:
        _end(INTERRUPTED, f"interrupted{_resume_hint(client, file)}")
    except ClientError as error:
        raise ClientError(f"{error}{_resume_hint(client, file)}") from error


def _resume_hint(client: Client, file: Path) -> str:
    return "; the same command goes on with the upload" if client.can_resume(file) else ""


def _follow(client: Client, job: Export, target: Path | None, as_json: bool) -> NoReturn:
    """Watch a job to its end, save its file, and exit with the status that says how it went."""
    try:
        with _progress_display(as_json) as shown:
            sight = WatchDisplay(shown)
            for state in [job] if job.final else client.watch(job.job_id, sight.lost):
                job = state
                sight.seen(job)
                if as_json:
                    typer.echo(msgspec.json.encode(state).decode())
        if job.status == "complete" and target is not None:
            with _progress_display(as_json) as shown:
                client.download(job, target, byte_callback(shown, "saving"))
    except KeyboardInterrupt:
        hint = f"Watch it: {_command('watch', client, job)} · cancel it: {_command('cancel', client, job)}"
        _end(INTERRUPTED, f"the export {'has ended' if job.final else 'goes on'}. {hint}")
    except ClientError as error:
        raise ClientError(f"{error}\n  look again with: {_command('watch', client, job)}") from error
    if job.status != "complete":
        _end(FAILED, describe_result(job))
    place = f" Saved to {target}." if target else f" {job.output.url}" if job.output else ""
    if not as_json:
        typer.echo(describe_result(job) + place)
    raise typer.Exit


@contextmanager
def _progress_display(as_json: bool) -> Iterator[ProgressDisplay]:
    if as_json:
        yield NoProgress()
        return
    with progress_display(Console(stderr=True)) as shown:
        yield shown


def _say(job: Export, sentence: str, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(job).decode() if as_json else to_printable(sentence))


def _command(name: str, client: Client, job: Export) -> str:
    """A command line to go on with, at the same service."""
    return f"framehook {name} {job.job_id}" + (
        f" --server {client.url}" if client.url != DEFAULT_SERVER else ""
    )


def _end(status: int, sentence: str) -> NoReturn:
    lines = "\n".join(to_printable(line) for line in sentence.splitlines())
    print(f"framehook: {lines}", file=sys.stderr)
    raise typer.Exit(status)
