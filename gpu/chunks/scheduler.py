"""The pieces of an export made at once, each at a place of its own; whatever happens, none of them goes on.

Only `Places` knows where they run: in processes of this machine (`gpu.chunks.process_worker`) or in other containers
(`gpu.chunks.modal_worker`). A worker reports in lines of JSON: `{"done": ticks}` or `{"error": …}`.
"""

import json
import os
import selectors
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from gpu.chunks.plan import Order
from gpu.errors import ExportError, map_errors
from gpu.media.encode import Render

# How long nobody may say anything before whoever waits here is given the chance to stop.
_LOOK_SECONDS = 0.1
_READ_BYTES = 65_536
_LOST = "A part of the export was lost: what made it came to an end."


class Making(Protocol):
    """A piece being made."""

    @property
    def told(self) -> int:
        """The file descriptor on which is said how it goes; its end is the end of the piece."""
        ...

    @property
    def waits(self) -> bool:
        """Whether it has not begun, and has waited for a machine for longer than is worth it."""
        ...

    def give_order(self) -> None:
        """Begin; all that are started together are started before the first begins."""
        ...

    def failed(self) -> bool:
        """Whether it came to a bad end, once it has come to its end; raises the ExportError where that is known."""
        ...

    def stop(self) -> None:
        """Have it stop, and do not wait for that."""
        ...

    def close(self) -> None:
        """Wait until it is over, and keep nothing of it."""
        ...


class Place(Protocol):
    """Where one piece at a time is made. `at_hand`: it begins at once, and need not wait for a machine."""

    at_hand: bool

    def start(self, order: Order) -> Making:
        """Raises OSError."""
        ...


class Places(Protocol):
    """Where pieces can be made."""

    def at_once(self, asked: int) -> int:
        """How many can be made at once, of so many that were asked for."""
        ...

    def longest_seconds(self, render: Render) -> float:
        """How long a piece of this film may be at most."""
        ...

    def on_one_machine(self, count: int) -> int:
        """How many of so many made at once share a machine."""
        ...

    def opened(self, count: int) -> AbstractContextManager[Sequence[Place]]:
        """That many places."""
        ...

    @property
    def seconds_elsewhere(self) -> float:
        """How long other machines have been at work, together."""
        ...


@dataclass(frozen=True)
class Mark:
    """So much was done at a time, in seconds of any clock."""

    at: float
    done: float


@dataclass(frozen=True)
class Standing:
    """How much of the whole is done, 0 to 1, and how long it still takes."""

    share: float
    eta_seconds: float | None


def seconds_left(first: Mark, latest: Mark, total: float) -> float | None:
    """How much longer it takes if it goes on as it went between two marks; unknown if it did not."""
    if latest.done <= first.done:
        return None
    return (latest.at - first.at) * (total - latest.done) / (latest.done - first.done)


def made_by_crew(
    orders: Sequence[Order], places: Sequence[Place], beside: Generator[None, None, None] | None = None
) -> Generator[Standing, None, None]:
    """Make every piece, and the sound `beside`; yields at least ten times a second how it stands.

    The first piece that fails ends it: raises its ExportError, or piece_lost. Closing this stops all at once.
    """
    with _crew(orders, places) as crew, closing(beside or _nothing()) as sounding:
        going_on = True
        while going_on or crew.at_work:
            going_on = going_on and next(sounding, _OVER) is not _OVER
            crew.look(0 if going_on else _LOOK_SECONDS)
            yield crew.standing()


def _nothing() -> Generator[None, None, None]:
    yield from ()


_OVER = object()


class _Piece:
    """A piece that somebody makes, and what was told of it."""

    def __init__(self, order: Order, place: Place) -> None:
        self.order, self.place = order, place
        self.making = place.start(order)
        self.done = 0
        self.first: Mark | None = None
        self._unread = b""

    def listen(self) -> bool:
        """Take in what is said; whether more may come. Raises the ExportError that it ended in, or piece_lost."""
        heard = os.read(self.making.told, _READ_BYTES)
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "error" in said:
                raise ExportError(**said["error"])
            self.done = max(
                self.done, said["done"]
            )  # what is made again elsewhere does not undo what was told
            self.first = self.first or Mark(time.monotonic(), self.done)  # before that it only came up
        if not heard and (self.making.failed() or self.done < len(self.order.ticks)):
            raise ExportError("piece_lost", _LOST, transient=True)
        return bool(heard)

    def seconds_left(self, now: float) -> float | None:
        """How much longer this piece takes at its pace so far."""
        if self.done == len(self.order.ticks):
            return 0.0
        return seconds_left(self.first, Mark(now, self.done), len(self.order.ticks)) if self.first else None


class _Crew:
    """Who is at work on what, and what waits."""

    def __init__(
        self, orders: Sequence[Order], places: Sequence[Place], told: selectors.BaseSelector
    ) -> None:
        self._waiting = deque(orders)
        self._idle = list(places)
        self._told = told
        self._total, self._made = sum(len(order.ticks) for order in orders), 0
        self.at_work: list[_Piece] = []

    def look(self, seconds: float) -> None:
        """Wait so long for something to be said, and hand out what waits to whom is free."""
        for key, _ in self._told.select(seconds):
            piece: _Piece = key.data
            if not piece.listen():
                self._made += len(piece.order.ticks)
                self._leave(piece)
        self.hand_out()

    def hand_out(self) -> None:
        """Everybody who is idle takes the next piece; whoever can begin at once, one that waits for a machine."""
        begun: list[_Piece] = []
        for place in tuple(self._idle):
            if order := self._order_for(place):
                self._idle.remove(place)
                with map_errors("spawn_failed", "A part of the export could not be started.", transient=True):
                    piece = _Piece(order, place)
                self.at_work.append(piece)
                self._told.register(piece.making.told, selectors.EVENT_READ, piece)
                begun.append(piece)
        for piece in begun:
            piece.making.give_order()

    def standing(self) -> Standing:
        done = self._made + sum(piece.done for piece in self.at_work)
        now = time.monotonic()
        left = [seconds for piece in self.at_work if (seconds := piece.seconds_left(now)) is not None]
        known = len(left) == len(self.at_work) and not self._waiting
        return Standing(done / self._total, max(left, default=0.0) if known else None)

    def close(self) -> None:
        """End everything, all of it at once."""
        for piece in self.at_work:
            piece.making.stop()
        for piece in self.at_work:
            piece.making.close()

    def _order_for(self, place: Place) -> Order | None:
        if self._waiting:
            return self._waiting.popleft()
        late = (piece for piece in self.at_work if place.at_hand and piece.making.waits)
        if piece := next(late, None):
            piece.making.stop()
            self._leave(piece, idle=False)  # there is no machine for it: no other piece is sent there
            return piece.order
        return None

    def _leave(self, piece: _Piece, *, idle: bool = True) -> None:
        self._told.unregister(piece.making.told)
        self.at_work.remove(piece)
        piece.making.close()
        if idle:
            self._idle.append(piece.place)


@contextmanager
def _crew(orders: Sequence[Order], places: Sequence[Place]) -> Iterator[_Crew]:
    with selectors.DefaultSelector() as told:
        crew = _Crew(orders, places, told)
        try:
            crew.hand_out()
            yield crew
        finally:
            crew.close()
