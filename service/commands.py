"""The commands that talk to a running service: export, watch, list, cancel, retry."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from gpu.spec import ExportType
from service.client import Client, Export, Trouble, usual_folder
from service.models import Status
from service.terminal import Meter, Sight, Silence, meter, moved_on, outcome, plain, table

DEFAULT_SERVER = "http://127.0.0.1:8000"
MAX_CONFIG_BYTES = 2 * 2**20
PIPE_WIDTH = 240
FAILED, TROUBLE, INTERRUPTED = 1, 2, 130

Job = Annotated[str, typer.Argument(metavar="JOB", help="The job id.")]
Server = Annotated[str, typer.Option("--server", envvar="FRAMEHOOK_URL", help="Where the service is.")]
Token = Annotated[str | None, typer.Option("--token", envvar="FRAMEHOOK_TOKEN", help="A bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to save the exported file; implies --watch.")
]


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The video.")],
    *,
    type_: Annotated[ExportType, typer.Option("--type", help="What is to be made of it.")],
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
    with spoken(), Client(server, token, unfinished=usual_folder()) as client:
        parameters = read_config(config)
        if not file.is_file():
            raise Trouble(f"there is no file {file}")
        target = checked_target(output)
        key = _sent(client, file, as_json)
        job = client.submit(type_.value, parameters | {"input_key": key})
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
    with spoken(), Client(server, token) as client:
        _follow(client, client.get(job_id), checked_target(output), as_json)


def list_(
    *,
    status: Annotated[Status | None, typer.Option(help="Only those.")] = None,
    type_: Annotated[ExportType | None, typer.Option("--type", help="Only those.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List exports, newest first."""
    with spoken(), Client(server, token) as client:
        page = client.newest(limit, status=status, type_=type_)
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
    with spoken(), Client(server, token) as client:
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
    with spoken(), Client(server, token) as client:
        target = checked_target(output)
        job = client.retry(job_id)
        if watch or target:
            _follow(client, job, target, as_json)
        _say(
            job,
            f"Export {job.job_id} is {job.status} again. Watch it: {_command('watch', client, job)}",
            as_json,
        )


@contextmanager
def spoken() -> Iterator[None]:
    """Whatever goes wrong inside is told in a sentence, and in the exit status."""
    try:
        yield
    except Trouble as trouble:
        _end(TROUBLE, str(trouble))
    except BrokenPipeError:
        raise  # whoever read this has gone; click ends quietly
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(TROUBLE, f"{where}{(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "interrupted")


def read_config(given: str) -> dict[str, Any]:
    """The parameters, from a file or as they are; raises Trouble."""
    inline = given.lstrip().startswith("{")
    name = "--config" if inline else given
    if not inline and Path(given).stat().st_size > MAX_CONFIG_BYTES:
        raise Trouble(f"{given} is larger than any configuration")
    try:
        text = given if inline else Path(given).read_text(encoding="utf-8")
        found = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Trouble(f"{name} is not valid JSON: {error.msg.lower()} at {place}") from None
    except (ValueError, RecursionError):
        raise Trouble(f"{name} is not valid JSON") from None
    if not isinstance(found, dict):
        raise Trouble(f"{name} does not hold a JSON object")
    return found


def checked_target(output: Path | None) -> Path | None:
    """Where to save, if anywhere; raises Trouble before any work is done for nothing."""
    if output is None:
        return None
    if output.is_dir():
        raise Trouble(f"{output} is a folder; name the file to save to")
    if not output.parent.is_dir():
        raise Trouble(f"there is no folder {output.parent}")
    return output


def _sent(client: Client, file: Path, as_json: bool) -> str:
    """The key of the file, once it is stored; what was cut is told how to go on."""
    try:
        with _meter(as_json) as shown:
            if client.goes_on(file):
                shown.note("Going on with an upload that was cut.")
            return client.upload(file, moved_on(shown, "sending"))
    except KeyboardInterrupt:
        _end(INTERRUPTED, f"interrupted{_how_to_go_on(client, file)}")
    except Trouble as trouble:
        raise Trouble(f"{trouble}{_how_to_go_on(client, file)}") from trouble


def _how_to_go_on(client: Client, file: Path) -> str:
    return "; the same command goes on with the upload" if client.goes_on(file) else ""


def _follow(client: Client, job: Export, target: Path | None, as_json: bool) -> NoReturn:
    """Watch a job to its end, save its file, and exit with the status that says how it went."""
    try:
        with _meter(as_json) as shown:
            sight = Sight(shown)
            for state in [job] if job.final else client.watch(job.job_id, sight.lost):
                job = state
                sight.seen(job)
                if as_json:
                    typer.echo(msgspec.json.encode(state).decode())
        if job.status == "complete" and target is not None:
            with _meter(as_json) as shown:
                client.download(job, target, moved_on(shown, "saving"))
    except KeyboardInterrupt:
        hint = f"Watch it: {_command('watch', client, job)} · cancel it: {_command('cancel', client, job)}"
        _end(INTERRUPTED, f"the export {'has ended' if job.final else 'goes on'}. {hint}")
    except Trouble as trouble:
        raise Trouble(f"{trouble}\n  look again with: {_command('watch', client, job)}") from trouble
    if job.status != "complete":
        _end(FAILED, outcome(job))
    place = f" Saved to {target}." if target else f" {job.output.url}" if job.output else ""
    if not as_json:
        typer.echo(outcome(job) + place)
    raise typer.Exit


@contextmanager
def _meter(as_json: bool) -> Iterator[Meter]:
    if as_json:
        yield Silence()
        return
    with meter(Console(stderr=True)) as shown:
        yield shown


def _say(job: Export, sentence: str, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(job).decode() if as_json else plain(sentence))


def _command(name: str, client: Client, job: Export) -> str:
    """A command line to go on with, at the same service."""
    return f"framehook {name} {job.job_id}" + (
        f" --server {client.url}" if client.url != DEFAULT_SERVER else ""
    )


def _end(status: int, sentence: str) -> NoReturn:
    lines = "\n".join(plain(line) for line in sentence.splitlines())
    print(f"framehook: {lines}", file=sys.stderr)
    raise typer.Exit(status)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError
