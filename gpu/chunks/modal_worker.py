"""Pieces made by other containers, as the one that makes the export sees them: a call of Modal's for each.

The value of the call is the piece, so there is nothing between them that could be left behind: no object in storage,
no key in the other container, which gets the URLs of the sources and nothing else. Pieces are kept short for it. Modal
runs a call again whose container crashed or was preempted; the export never notices but by its progress.

This container makes pieces as well. So the card that it holds is not idle, and an export ends even where no other
container can be had: a piece that waits for one is made here in the end.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import modal
import modal.exception

from gpu.chunks.heartbeat import AWAY, beating, progress_of
from gpu.chunks.plan import Order
from gpu.chunks.process_worker import OwnProcess
from gpu.chunks.scheduler import Place
from gpu.errors import ExportError
from gpu.media.encode import Render
from gpu.spec import LocalFile, RemoteObject

MakePiece = modal.Function[..., Any, Any]
Sources = Mapping[str, LocalFile | RemoteObject]

# A piece passes through the memory of two containers. Bits a pixel: what the best quality takes of a harsh picture.
_PIECE_BYTES, _BITS_PER_PIXEL = 64 * 2**20, 0.25
_LOOK_SECONDS = 1.0
# A cold container takes about as long to come up; after that a piece is better made here.
_PATIENCE_SECONDS = 15.0
_AWAY_SECONDS = 120.0
_LEAVING_SECONDS = 5.0
_LOST = ExportError("piece_lost", "A part of the export was lost: its container ended.", transient=True)

log = logging.getLogger(__name__)


class Containers:
    """This container, and one more for every other piece that is made at the same time."""

    def __init__(self, make_piece: MakePiece, sources: Sources) -> None:
        """`sources`: where other containers read them."""
        self._make_piece, self._sources = make_piece, sources
        self._hires: list[Hire] = []

    def at_once(self, asked: int) -> int:
        return asked

    def longest_seconds(self, render: Render) -> float:
        pixels = render.width * render.height * float(render.clock.rate)
        return _PIECE_BYTES * 8 / (pixels * _BITS_PER_PIXEL)

    def on_one_machine(self, count: int) -> int:  # noqa: ARG002 - however many there are, each has its own
        return 1

    @property
    def seconds_elsewhere(self) -> float:
        return sum(hire.seconds for hire in self._hires)

    @contextmanager
    def opened(self, count: int) -> Iterator[Sequence[Place]]:
        """Without a board there are no others: then all is made here, one piece after another."""
        with ExitStack() as stack:
            try:
                board = stack.enter_context(beating())
            except (modal.exception.Error, OSError) as error:
                log.warning("no other containers can be had: %s", type(error).__name__)
                yield [OwnProcess()]
            else:
                yield [OwnProcess(), *(_Container(self._hire, board) for _ in range(count - 1))]

    def _hire(self, order: Order, board: modal.Dict) -> "Hire":
        transfer = order.spec.transfer.model_copy(update={"sources": dict(self._sources)})
        sent = order.model_copy(update={"spec": order.spec.model_copy(update={"transfer": transfer})})
        self._hires.append(Hire(self._make_piece, order, sent, board))
        return self._hires[-1]


class _Container:
    """One call at a time."""

    at_hand = False

    def __init__(self, hire: "Callable[[Order, modal.Dict], Hire]", board: modal.Dict) -> None:
        self._hire, self._board = hire, board

    def start(self, order: Order) -> "Hire":
        return self._hire(order, self._board)


class Hire:
    """A piece ordered from another container; a thread waits for it, and says how it goes."""

    def __init__(self, make_piece: MakePiece, order: Order, sent: Order, board: modal.Dict) -> None:
        self._make_piece, self._order, self._sent, self._board = make_piece, order, sent, board
        self._name = order.path.stem
        self.told, self._say_to = os.pipe()
        self._thread = threading.Thread(target=self._wait, name=self._name, daemon=True)
        self._unwanted = threading.Event()
        self._refused = False
        self._ordered_at: float | None = None
        self._begun_at: float | None = None
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long the container has been at work, in so far as that is known."""
        if self._seconds is not None:
            return self._seconds
        return 0.0 if self._begun_at is None else time.monotonic() - self._begun_at

    @property
    def waits(self) -> bool:
        if self._begun_at is not None or self._ordered_at is None:
            return False
        return self._refused or time.monotonic() - self._ordered_at > _PATIENCE_SECONDS

    def give_order(self) -> None:
        self._ordered_at = time.monotonic()
        self._thread.start()

    def failed(self) -> bool:
        return False  # it has said so

    def stop(self) -> None:
        self._unwanted.set()

    def close(self) -> None:
        """Wait for the end of the call, but not for long: without this one's beat it ends in any case."""
        self.stop()
        if self._thread.ident is None:
            os.close(self._say_to)
        else:
            self._thread.join(_LEAVING_SECONDS)
        if self._seconds is None:
            self._seconds = self.seconds
        os.close(self.told)

    def _wait(self) -> None:
        try:
            self._relay()
        except Exception:  # the edge of a thread: whoever waits must be told
            log.exception("a piece was lost sight of")
            self._say_failure(_LOST)
        finally:
            os.close(self._say_to)

    def _relay(self) -> None:
        try:
            order = self._sent.model_dump(mode="json", by_alias=True)
            call = self._make_piece.spawn(order, self._board.object_id, self._name)
        except (modal.exception.Error, OSError) as error:
            log.warning("a piece could not be given away: %s", type(error).__name__)
            self._refused = True
            self._unwanted.wait()
            return
        value = self._value_of(call)
        if value is None:
            with suppress(modal.exception.Error, OSError):
                call.cancel()
        else:
            self._take(value)

    def _value_of(self, call: "modal.FunctionCall[Any]") -> dict[str, Any] | None:
        """What the call has come to; None once nobody wants it. Raises ExportError."""
        heard_at = time.monotonic()
        while not self._unwanted.is_set():
            try:
                value: dict[str, Any] = call.get(timeout=_LOOK_SECONDS)
            except modal.exception.OutputExpiredError:
                return {}
            except TimeoutError:
                heard_at = time.monotonic()
                self._look()
            except AWAY:
                if time.monotonic() - heard_at > _AWAY_SECONDS:
                    return {}
                self._unwanted.wait(_LOOK_SECONDS)
            except modal.exception.Error as error:
                log.warning("a piece's container ended: %s", type(error).__name__)
                return {}
            else:
                return value
        return None

    def _look(self) -> None:
        done = progress_of(self._board, self._name)
        if done is not None:
            self._begun_at = self._begun_at or time.monotonic()
            self._say({"done": min(done, len(self._order.ticks) - 1)})

    def _take(self, value: dict[str, Any]) -> None:
        self._seconds = float(value.get("seconds", self.seconds))
        if "content" in value:
            self._order.path.write_bytes(value["content"])
            self._say({"done": len(self._order.ticks)})
        elif "error" in value:
            self._say_failure(ExportError(**value["error"]))
        else:
            self._say_failure(_LOST)

    def _say_failure(self, error: ExportError) -> None:
        told = {"code": error.code, "message": error.message, "transient": error.transient}
        self._say({"error": told})

    def _say(self, line: dict[str, object]) -> None:
        with suppress(BrokenPipeError):
            os.write(self._say_to, json.dumps(line).encode() + b"\n")
