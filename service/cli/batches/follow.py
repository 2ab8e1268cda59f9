"""Watch a batch until all of its exports have ended, and print it for people or scripts."""

from typing import NoReturn

import msgspec
import typer

from framehook import Batch, Client, FramehookError
from service.cli.console import ProgressDisplay, to_printable
from service.cli.errors import FAILED_STATUS, exit_with
from service.cli.exports.follow import command_line, open_display
from service.startup.statuses import INTERRUPTED_STATUS

_NAMES = {
    "complete": "complete",
    "error": "failed",
    "cancelled": "cancelled",
    "processing": "processing",
    "pending": "pending",
}


class BatchDisplay:
    """Show the states of a watched batch, and once per outage that the connection was lost."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display
        self._is_disconnected = False

    def show(self, batch: Batch) -> None:
        self._is_disconnected = False
        step = "done" if batch.is_final else "processing" if batch.counts.get("processing") else "queued"
        self._display.show(step, batch.progress, describe_counts(batch))

    def on_disconnect(self, reason: str) -> None:
        if not self._is_disconnected:
            self._is_disconnected = True
            self._display.note(f"Connection lost ({reason}). The exports are still running; reconnecting.")


def follow_batch(client: Client, batch: Batch, *, as_json: bool) -> NoReturn:
    """Watch a batch until it ends, and exit with a status for its result."""
    try:
        with open_display(as_json) as display:
            batch_display = BatchDisplay(display)
            if batch.name:
                display.note(batch.name)
            for state in client.batches.watch(batch, on_disconnect=batch_display.on_disconnect):
                batch = state
                batch_display.show(state)
                if as_json:
                    typer.echo(msgspec.json.encode(state).decode())
    except KeyboardInterrupt:
        watch = command_line("batch watch", client, batch.batch_id)
        commands = f"{watch} · cancel them: {command_line('batch cancel', client, batch.batch_id)}"
        exit_with(INTERRUPTED_STATUS, f"the exports are still running. Watch them: {commands}")
    except FramehookError as error:
        error.add_note(f"  watch it again with: {command_line('batch watch', client, batch.batch_id)}")
        raise
    sentence = f"The batch has ended: {describe_counts(batch)}."
    if set(batch.counts) - {"complete"}:
        exit_with(FAILED_STATUS, sentence)
    if not as_json:
        typer.echo(sentence)
    raise typer.Exit


def describe_counts(batch: Batch) -> str:
    """Say how many exports of a batch are in each state; those that are erased are in none."""
    counts = [f"{batch.counts[status]} {name}" for status, name in _NAMES.items() if batch.counts.get(status)]
    return ", ".join(counts) or "no exports"


def print_batch(batch: Batch, sentence: str, *, as_json: bool) -> None:
    """Print a batch: as JSON, or as a sentence."""
    typer.echo(msgspec.json.encode(batch).decode() if as_json else to_printable(sentence))
