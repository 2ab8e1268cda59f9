"""The pieces of an export made at once, by a process each; whatever happens, none of them is left."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpu.errors import ExportError, failing_as
from gpu.split import Order

# How long a process may say nothing before whoever waits here is given the chance to stop.
_LOOK_SECONDS = 0.1
_READ_BYTES = 65_536
_LOST = "A part of the export was lost: the process that made it came to an end."


@dataclass(frozen=True)
class Mark:
    """So much was done at a time, in seconds of any clock."""

    at: float
    done: float


@dataclass(frozen=True)
class Standing:
    """How much of the whole is done, 0 to 1, and how long the piece that takes longest still takes."""

    share: float
    eta_seconds: float | None


def seconds_left(first: Mark, latest: Mark, total: float) -> float | None:
    """How much longer it takes if it goes on as it went between two marks; unknown if it did not."""
    if latest.done <= first.done:
        return None
    return (latest.at - first.at) * (total - latest.done) / (latest.done - first.done)


def made_by_crew(
    orders: Sequence[Order], beside: Generator[None, None, None] | None = None
) -> Generator[Standing, None, None]:
    """Make every piece, and the sound `beside`; yields at least ten times a second how it stands.

    The first piece that fails ends it: raises its ExportError, or piece_lost. Closing this stops all at once.
    """
    with (
        _crew(orders) as crew,
        selectors.DefaultSelector() as selector,
        closing(beside or _nothing()) as sounding,
    ):
        for piece in crew:
            selector.register(piece.told, selectors.EVENT_READ, piece)
        going_on = True
        while going_on or selector.get_map():
            going_on = going_on and next(sounding, _OVER) is not _OVER
            for key, _ in selector.select(0 if going_on else _LOOK_SECONDS):
                piece = key.data
                if not piece.listen():
                    selector.unregister(piece.told)
            yield _standing(crew)


def _nothing() -> Generator[None, None, None]:
    yield from ()


_OVER = object()


class _Piece:
    """A process that makes a piece, and what it has told."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.done = 0
        self._first: Mark | None = None
        self._unread = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu.piece"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": _search_path()},
            # What this process was told to hand on (a lock, say) is held for as long as any of them lives.
            close_fds=False,
        )

    @property
    def told(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def give_order(self) -> None:
        """Its standard input stays open: where that ends, so does the process."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone already, which will show
            self.process.stdin.write(self.order.model_dump_json(by_alias=True).encode() + b"\n")
            self.process.stdin.flush()

    def listen(self) -> bool:
        """Take in what it says; whether it may say more. Raises the ExportError that it ended in, or piece_lost."""
        heard = os.read(self.told, _READ_BYTES)
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "error" in said:
                raise ExportError(**said["error"])
            self.done = said["done"]
            self._first = self._first or Mark(time.monotonic(), self.done)  # before that it only came up
        if not heard and (self.process.wait() or self.done < len(self.order.ticks)):
            raise ExportError("piece_lost", _LOST, transient=True)
        return bool(heard)

    def seconds_left(self, now: float) -> float | None:
        """How much longer this piece takes at its pace so far."""
        if self.done == len(self.order.ticks):
            return 0.0
        return seconds_left(self._first, Mark(now, self.done), len(self.order.ticks)) if self._first else None

    def end(self) -> None:
        """Wait until it is gone, once it has been killed; an order that it never took is of no more use."""
        with suppress(BrokenPipeError), self.process:
            pass


@contextmanager
def _crew(orders: Sequence[Order]) -> Iterator[list[_Piece]]:
    """All of them started before the first is told what to do: they come up together."""
    crew: list[_Piece] = []
    try:
        with failing_as("spawn_failed", "A part of the export could not be started.", transient=True):
            for order in orders:
                crew.append(_Piece(order))  # noqa: PERF401 - if one can't be started, the others must be known
        for piece in crew:
            piece.give_order()
        yield crew
    finally:
        for piece in crew:
            piece.process.kill()
        for piece in crew:
            piece.end()


def _standing(crew: Sequence[_Piece]) -> Standing:
    done, total = sum(piece.done for piece in crew), sum(len(piece.order.ticks) for piece in crew)
    now = time.monotonic()
    left = [seconds for piece in crew if (seconds := piece.seconds_left(now)) is not None]
    return Standing(done / total, max(left) if len(left) == len(crew) else None)


def _search_path() -> str:
    """Where this package was found, first."""
    found = str(Path(__file__).parent.parent)
    return os.pathsep.join(filter(None, (found, os.environ.get("PYTHONPATH"))))
