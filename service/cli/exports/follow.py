"""Watch an export until it has ended, and print it for people or scripts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import msgspec
import typer
from rich.console import Console

from framehook import Client, Export, FramehookError
from framehook.settings import DEFAULT_URL
from service.cli.console import (
    ExportDisplay,
    NoProgress,
    ProgressDisplay,
    byte_callback,
    describe_result,
    progress_display,
    to_printable,
)
from service.cli.errors import FAILED_STATUS, exit_with
from service.startup.statuses import INTERRUPTED_STATUS


def follow(client: Client, job: Export, target: Path | None, as_json: bool) -> NoReturn:
    """Watch a job until it ends, save its output, and exit with a status for its result."""
    try:
        with open_display(as_json) as display:
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
            with open_display(as_json) as display:
                client.download(job, target, on_progress=byte_callback(display, "downloading"))
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, _describe_interruption(client, job))
    except FramehookError as error:
        error.add_note(f"  watch it again with: {command_line('watch', client, job.job_id)}")
        raise
    if job.status != "complete":
        exit_with(FAILED_STATUS, describe_result(job))
    location = f" Saved to {target}." if target else f" {job.output.url}" if job.output else ""
    if not as_json:
        typer.echo(describe_result(job) + location)
    raise typer.Exit


def _describe_interruption(client: Client, job: Export) -> str:
    """Say what becomes of an export that is not watched any more, and which command goes on."""
    if job.is_final:
        return f"the export has ended. Save its file: {command_line('download', client, job.job_id)}"
    commands = f"{command_line('watch', client, job.job_id)} · cancel it: {command_line('cancel', client, job.job_id)}"
    return f"the export is still running. Watch it: {commands}"


@contextmanager
def open_display(as_json: bool) -> Iterator[ProgressDisplay]:
    """Yield the display of progress; scripts get none."""
    if as_json:
        yield NoProgress()
        return
    with progress_display(Console(stderr=True)) as display:
        yield display


def print_job(job: Export, sentence: str, as_json: bool) -> None:
    """Print an export: as JSON, or as a sentence."""
    typer.echo(msgspec.json.encode(job).decode() if as_json else to_printable(sentence))


def command_line(name: str, client: Client, object_id: str) -> str:
    """Return a command line for an object of the same service."""
    server = f" --server {client.base_url}" if client.base_url != DEFAULT_URL else ""
    return f"framehook {name} {object_id}{server}"
