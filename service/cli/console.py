"""Print progress, tables and results for people."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from framehook import Export, Queue, Timeline

LINE_INTERVAL_SECONDS = 5.0
LINE_INTERVAL_PERCENT = 10.0
MIN_LINE_INTERVAL_SECONDS = 0.5
COMPLETE_PERCENT = 100.0
MEBIBYTE = 2**20
PIPE_WIDTH = 240
_COLORS = {"complete": "green", "error": "red", "cancelled": "yellow", "processing": "cyan"}


class ProgressDisplay(Protocol):
    """Display of the progress of one operation, in percent."""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        """Show the current progress."""
        ...

    def note(self, text: str) -> None:
        """Show an event, such as a lost connection."""
        ...


class NoProgress:
    """Display for scripts, which read the result only."""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class ProgressBar:
    """Progress bar, for terminals."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=100, phase="", message="", eta="")

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        eta = f"{format_duration(eta_seconds)} left" if eta_seconds is not None else ""
        self._progress.update(
            self._task, completed=percent, phase=to_printable(phase), message=to_printable(message), eta=eta
        )

    def note(self, text: str) -> None:
        self._progress.console.print(Text(to_printable(text), style="yellow"))


class ProgressLines:
    """Progress as lines, for logs: at each new phase, every 10 percent, every five seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._last_shown = ("", -LINE_INTERVAL_PERCENT, 0.0)
        self._last_line = ""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        last_phase, last_percent, last_shown_at = self._last_shown
        now = self._clock()
        interval = LINE_INTERVAL_SECONDS
        if percent >= last_percent + LINE_INTERVAL_PERCENT:
            interval = MIN_LINE_INTERVAL_SECONDS
        if percent >= COMPLETE_PERCENT:
            interval = 0
        if phase == last_phase and now < last_shown_at + interval:
            return
        self._last_shown = (phase, percent, now)
        eta = f", {format_duration(eta_seconds)} left" if eta_seconds is not None else ""
        line = to_printable(f"  {phase:<11} {percent:5.1f} %  {message}{eta}").rstrip()
        if line != self._last_line:
            self._last_line = line
            self._print(line)

    def note(self, text: str) -> None:
        self._print(to_printable(f"  {text}"))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


@contextmanager
def progress_display(console: Console) -> Iterator[ProgressDisplay]:
    """Yield the display that fits the console: a bar on a terminal, lines elsewhere."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield ProgressLines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[phase]:<11}", markup=False, style="bold"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:5.1f} %"),
        TextColumn("{task.fields[message]}", markup=False, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[eta]}", style="cyan"),
    )
    with Progress(*columns, console=console) as progress:
        yield ProgressBar(progress)


_ENDED_EARLY = {"error": "failed", "cancelled": "cancelled"}


class ExportDisplay:
    """Show the states of a watched export, and once per outage that the connection was lost."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display
        self._is_disconnected = False

    def show(self, export: Export) -> None:
        self._is_disconnected = False
        step = _ENDED_EARLY.get(export.status, export.phase)
        message = export.message if export.queue is None else describe_queue(export.queue)
        self._display.show(step, export.progress, message, export.eta_seconds)

    def on_disconnect(self, reason: str) -> None:
        if not self._is_disconnected:
            self._is_disconnected = True
            self._display.note(f"Connection lost ({reason}). The export is still running; reconnecting.")


def describe_queue(queue: Queue) -> str:
    """Describe what a pending export waits for."""
    reason = f", waits for: {queue.limited_by}" if queue.limited_by else ""
    start = f", starts in about {format_duration(queue.ahead_seconds)}" if queue.ahead_seconds else ""
    return f"{queue.position}. in the queue{start}{reason}"


def byte_callback(display: ProgressDisplay, phase: str) -> Callable[[int, int], None]:
    """Return a callback that shows transferred bytes as progress."""

    def on_bytes(done: int, total: int) -> None:
        percent = 100 * done / total if total else 0.0
        display.show(phase, percent, f"{_format_mebibytes(done)} of {_format_mebibytes(total)} MiB")

    return on_bytes


def exports_table(exports: Sequence[Export], now: datetime) -> Table:
    """Build a table with a row per export; names have a column if there are any."""
    has_names = any(export.name for export in exports)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("JOB", no_wrap=True)
    if has_names:
        table.add_column("NAME", overflow="fold")
    table.add_column("TYPE", no_wrap=True)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("MESSAGE", overflow="fold")
    for export in exports:
        status = Text(to_printable(export.status), style=_COLORS.get(export.status, ""))
        message = export.error.message if export.error else export.message
        message = message if export.queue is None else describe_queue(export.queue)
        percent = Text(f"{export.progress:.0f}")
        name = [escape_cell(export.name or "")] if has_names else []
        job_id, type_ = escape_cell(export.job_id), escape_cell(export.type)
        table.add_row(job_id, *name, type_, status, percent, _format_age(export, now), escape_cell(message))
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal; a pipe has no width that it must fit."""
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def describe_result(export: Export) -> str:
    """Describe how an export ended, in a sentence."""
    match export.status:
        case "complete" if export.output is not None:
            output = export.output
            size = format_size(output.size)
            if not output.duration:
                return f"The export is complete: {size}."
            return f"The export is complete: {output.width}x{output.height}, {output.duration:.1f} s, {size}."
        case "cancelled":
            return "The export was cancelled."
        case "error" if export.error is not None:
            return to_printable(f"The export failed: {export.error.message} ({export.error.code})")
        case _:
            return to_printable(f"The export is {export.status}.")


def timeline_lines(timeline: Timeline) -> list[str]:
    """Format the duration of each phase, then the time on the GPU and its cost."""
    phases = [
        f"{to_printable(span.phase).replace('_', ' '):<12}{span.seconds:7.2f} s" for span in timeline.phases
    ]
    cost = timeline.estimated_cost_usd
    price = f", about ${cost:.6f}" if cost is not None else ""
    return [*phases, f"{'run':<12}{timeline.gpu_seconds:7.2f} s{price}"]


def to_printable(text: str) -> str:
    """Replace characters that could control a terminal by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def escape_cell(text: str) -> Text:
    """Convert text to a table cell without markup or control characters."""
    return Text(to_printable(text))


def format_size(size: int) -> str:
    """Format a number of bytes, from a tenth of a mebibyte on in mebibytes."""
    return f"{_format_mebibytes(size)} MiB" if size >= 100 * 1024 else f"{size} bytes"


def _format_mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f}"


def format_duration(seconds: float) -> str:
    """Format seconds as minutes and seconds, or with hours."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format_age(export: Export, now: datetime) -> Text:
    seconds = max(0.0, (now - export.created_at).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return Text(f"{seconds / length:.0f}{unit}")
    return Text(f"{seconds:.0f}s")
