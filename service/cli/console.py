"""What people see: a live bar on a terminal, a line now and then where there is none, and a table of exports."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from service.client import Export, Timeline

LINE_EVERY_SECONDS = 5.0
LINE_EVERY_PERCENT = 10.0
LINES_APART_SECONDS = 0.5
DONE = 100.0
MEBIBYTE = 2**20
_COLORS = {"complete": "green", "error": "red", "cancelled": "yellow", "processing": "cyan"}


class ProgressDisplay(Protocol):
    """Shows how far something has come, in percent."""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        """How far it is now."""
        ...

    def note(self, text: str) -> None:
        """Something that happened on the way."""
        ...


class NoProgress:
    """For machines, which read the result instead."""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class ProgressBar:
    """A bar that moves; on terminals."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=100, phase="", message="", eta="")

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        eta = f"{_clock(eta_seconds)} left" if eta_seconds is not None else ""
        self._progress.update(
            self._task, completed=percent, phase=to_printable(phase), message=to_printable(message), eta=eta
        )

    def note(self, text: str) -> None:
        self._progress.console.print(Text(to_printable(text), style="yellow"))


class ProgressLines:
    """A line at each new phase, at each tenth but not in a hurry, and otherwise every five seconds; for logs."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._shown = ("", -LINE_EVERY_PERCENT, 0.0)
        self._last = ""

    def show(self, phase: str, percent: float, message: str, eta_seconds: float | None = None) -> None:
        shown_phase, shown_percent, shown_at = self._shown
        now = self._clock()
        waits = LINE_EVERY_SECONDS
        if percent >= shown_percent + LINE_EVERY_PERCENT:
            waits = LINES_APART_SECONDS
        if percent >= DONE:
            waits = 0
        if phase == shown_phase and now < shown_at + waits:
            return
        self._shown = (phase, percent, now)
        eta = f", {_clock(eta_seconds)} left" if eta_seconds is not None else ""
        line = to_printable(f"  {phase:<11} {percent:5.1f} %  {message}{eta}").rstrip()
        if line != self._last:
            self._last = line
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


class WatchDisplay:
    """An export on a display; that it is out of sight is said once, until it is seen again."""

    def __init__(self, shown: ProgressDisplay) -> None:
        self._shown = shown
        self._lost = False

    def seen(self, export: Export) -> None:
        self._lost = False
        self._shown.show(export.phase, export.progress, export.message, export.eta_seconds)

    def lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._shown.note(f"Lost sight of the export ({reason}); it goes on, looking again.")


def byte_callback(shown: ProgressDisplay, phase: str) -> Callable[[int, int], None]:
    """Shows bytes on a display as they come or go."""

    def moved(done: int, total: int) -> None:
        percent = 100 * done / total if total else 0.0
        shown.show(phase, percent, f"{_mebibytes(done)} of {_mebibytes(total)} MiB")

    return moved


def table(exports: Sequence[Export], now: datetime) -> Table:
    """The exports, a line each."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("JOB", no_wrap=True)
    made.add_column("TYPE", no_wrap=True)
    made.add_column("STATUS", no_wrap=True)
    made.add_column("%", justify="right", no_wrap=True)
    made.add_column("AGE", justify="right", no_wrap=True)
    made.add_column("MESSAGE", overflow="fold")
    for export in exports:
        status = Text(to_printable(export.status), style=_COLORS.get(export.status, ""))
        message = export.error.message if export.error else export.message
        percent = Text(f"{export.progress:.0f}")
        made.add_row(
            *map(_cell, (export.job_id, export.type)), status, percent, _age(export, now), _cell(message)
        )
    return made


def describe_result(export: Export) -> str:
    """How an export ended, in a sentence."""
    match export.status:
        case "complete" if export.output is not None:
            output = export.output
            size = f"{output.width}x{output.height}, {output.duration:.1f} s, {_mebibytes(output.size)} MiB"
            return f"The export is complete: {size}."
        case "cancelled":
            return "The export was cancelled."
        case "error" if export.error is not None:
            return to_printable(f"The export failed: {export.error.message} ({export.error.code})")
        case _:
            return to_printable(f"The export is {export.status}.")


def timeline_lines(timeline: Timeline) -> list[str]:
    """What an export spent its time on, a line each, then what the GPU did and cost."""
    lines = [
        f"{to_printable(span.phase).replace('_', ' '):<12}{span.seconds:7.2f} s" for span in timeline.phases
    ]
    cost = timeline.estimated_cost_usd
    price = f", about ${cost:.6f}" if cost is not None else ""
    return [*lines, f"{'run':<12}{timeline.gpu_seconds:7.2f} s{price}"]


def to_printable(text: str) -> str:
    """Text that can't steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _cell(text: str) -> Text:
    return Text(to_printable(text))


def _mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _age(export: Export, now: datetime) -> Text:
    try:
        began = datetime.fromisoformat(export.created_at)
    except ValueError:
        return Text("")
    seconds = max(0.0, (now - began.replace(tzinfo=began.tzinfo or UTC)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return Text(f"{seconds / length:.0f}{unit}")
    return Text(f"{seconds:.0f}s")
