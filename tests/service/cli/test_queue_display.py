"""How `framehook watch` and `framehook list` show what an export waits for."""

from io import StringIO

from rich.console import Console

from framehook import Queue
from service.cli.console import ExportDisplay, ProgressLines, exports_table
from tests.support.live_server import export_state

WAITING = export_state(
    1, "pending", phase="queued", progress=0.0, queue=Queue(3, 75.0, "2 local workers"), message="Waiting"
)


def test_a_watch_shows_the_place_the_start_and_the_reason() -> None:
    output = StringIO()
    display = ExportDisplay(ProgressLines(Console(file=output, width=120)))
    display.show(WAITING)
    display.show(export_state(2, progress=10.0, message="Encoding"))
    lines = output.getvalue().splitlines()
    assert lines[0].endswith("3. in the queue, starts in about 1:15, waits for: 2 local workers")
    assert lines[1].endswith("Encoding")


def test_a_list_shows_the_place_of_what_waits() -> None:
    output = StringIO()
    Console(file=output, width=200).print(exports_table([WAITING], WAITING.created_at))
    assert "3. in the queue, starts in about 1:15, waits for: 2 local workers" in output.getvalue()
