"""Pieces made on this machine, by a process each."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu.chunks.plan import Order
from gpu.chunks.scheduler import Place
from gpu.crash_signals import crash_error, is_crash
from gpu.media import encoders
from gpu.media.encode import Render

# More at once than this would only take memory.
_PIECES_PER_CORE = 2


class OwnMachine:
    """As many places as the cores are good for."""

    seconds_elsewhere = 0.0

    def at_once(self, asked: int) -> int:
        return min(asked, _PIECES_PER_CORE * encoders.cores())

    def longest_seconds(self, render: Render) -> float:
        """All of it: a piece is a file from the beginning."""
        return render.seconds

    def on_one_machine(self, count: int) -> int:
        return count

    @contextmanager
    def opened(self, count: int) -> Iterator[Sequence[Place]]:
        yield [OwnProcess() for _ in range(count)]


class OwnProcess:
    """One process at a time."""

    at_hand = True

    def start(self, order: Order) -> "PieceProcess":
        return PieceProcess(order)


class PieceProcess:
    """A process that makes a piece."""

    waits = False

    def __init__(self, order: Order) -> None:
        self._order = order
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu.chunks"],
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
            self.process.stdin.write(self._order.model_dump_json(by_alias=True).encode() + b"\n")
            self.process.stdin.flush()

    def failed(self) -> bool:
        status = self.process.wait()
        if is_crash(status):
            raise crash_error()
        return status != 0

    def stop(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """Wait until it is gone; an order that it never took is of no more use."""
        with suppress(BrokenPipeError), self.process:
            pass


def _search_path() -> str:
    """Where this package was found, first."""
    found = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (found, os.environ.get("PYTHONPATH"))))
