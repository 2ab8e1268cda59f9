"""The command that saves the file of an export."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from framehook import Client, Export, FramehookError, Problem
from framehook.http_client import FINAL_CODES
from framehook.settings import DEFAULT_URL
from framehook.transfers.download import target_of
from service.cli.console import byte_callback, describe_result, to_printable
from service.cli.errors import (
    FAILED_STATUS,
    NOT_FOUND_STATUS,
    confirm,
    exit_with,
    print_errors,
)
from service.cli.exports.follow import command_line, open_display
from service.cli.exports.target import Force, check_target
from service.cli.options import AsJson, JobId, Server, Token, open_client
from service.startup.statuses import INTERRUPTED_STATUS

STANDARD_OUTPUT = Path("-")
RESUME_HINT = "  run the same command again to resume the download"

Target = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File or folder to save to; - is the standard output.  [default: its own name, in this folder]",
        show_default=False,
    ),
]


class SavedFile(msgspec.Struct):
    """A downloaded file: where it is, its bytes and its checksum."""

    path: str
    size: int
    checksum: str


def download(
    job_id: JobId,
    *,
    output: Target = Path(),
    force: Force = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Save the file of a complete export.

    The file appears once all of it has arrived and its checksum is right. An interrupted download goes on where it
    stopped. A file that exists is replaced only if you agree.
    """
    with print_errors(), open_client(server, token) as client:
        job = client.get(job_id)
        if job.output is None:
            _exit_without_file(client, job)
        if output == STANDARD_OUTPUT:
            _write_to_standard_output(client, job)
            return
        target = _choose_target(output, job, force=force)
        _save(client, job, target, as_json)
        saved = SavedFile(str(target), job.output.size, job.output.checksum)
        sentence = to_printable(f"Saved to {target}, {saved.size:,} bytes.")
        typer.echo(msgspec.json.encode(saved).decode() if as_json else sentence)


def _exit_without_file(client: Client, job: Export) -> NoReturn:
    """Say why an export has no file."""
    if job.status == "complete":
        exit_with(NOT_FOUND_STATUS, "the file of the export has been deleted; only `show` tells of it now")
    if job.is_final:
        exit_with(FAILED_STATUS, describe_result(job))
    hint = f"wait for it: {command_line('watch', client, job.job_id)} --output FILE"
    exit_with(FAILED_STATUS, f"the export is {job.status}, and has no file yet. {hint}")


def _choose_target(output: Path, job: Export, *, force: bool) -> Path:
    """Return the file to write, which a user has agreed to replace if it exists."""
    target = target_of(output, job.output_key or job.job_id)
    check_target(target)
    if target.exists() and not force:
        confirm(f"{to_printable(str(target))} exists. Replace it?", "--force")
    return target


def _save(client: Client, job: Export, target: Path, as_json: bool) -> None:
    try:
        with open_display(as_json) as display:
            client.download(job, target, on_progress=byte_callback(display, "downloading"))
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, f"interrupted\n{RESUME_HINT}")
    except FramehookError as error:
        if not (isinstance(error, Problem) and error.code in FINAL_CODES):
            error.add_note(RESUME_HINT)
        raise


def _write_to_standard_output(client: Client, job: Export) -> None:
    if sys.stdout.isatty():
        raise FramehookError("a video can't be shown on a terminal; add | and a program that reads it")
    with open_display(as_json=False) as display:
        client.download_to(job, sys.stdout.buffer, on_progress=byte_callback(display, "downloading"))
    sys.stdout.buffer.flush()
