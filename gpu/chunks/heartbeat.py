"""What an export and the containers that make its pieces leave for each other: a Modal Dict, and what stands in it.

The export beats on it as long as it wants its pieces; each piece writes how far it is. Modal ends no call because its
caller has died, so a piece that hears no beat any more stops by itself: wherever the export is cancelled, crashes, is
preempted or runs out of time, nothing goes on for longer than a few seconds.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import modal
import modal.exception

BEAT_SECONDS = 1.0
# Looks in a row that were answered and found no new beat: while Modal itself is away nothing is known.
_SILENT_LOOKS = 5
_BEAT, _OVER = "beat", "over"

log = logging.getLogger(__name__)

AWAY = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ResourceExhaustedError,
    OSError,  # the builtin TimeoutError, too
)
"""What keeps Modal from answering, and may pass."""


@contextmanager
def beating() -> "Iterator[modal.Dict]":
    """A board of one's own, with a beat on it as long as this lasts; raises what Modal raises."""
    with modal.Dict.ephemeral() as board:
        board.put(_BEAT, 0)
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(board, ended), name="beat", daemon=True)
        beat.start()
        try:
            yield board
        finally:
            ended.set()
            beat.join(3 * BEAT_SECONDS)


def _beat(board: modal.Dict, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(BEAT_SECONDS):
        number += 1
        with suppress(*AWAY):
            board.put(_BEAT, number)
    with suppress(modal.exception.Error, OSError):
        board.put(_BEAT, _OVER)


class Listener:
    """Listens for the beat, a look at a time."""

    def __init__(self, board: modal.Dict) -> None:
        self._board = board
        self._last: object = None
        self._silent = 0

    def wanted(self) -> bool:
        """Whether there is still somebody who wants the piece; to be asked once a beat."""
        try:
            beat = self._board.get(_BEAT)
        except modal.exception.NotFoundError:
            return False
        except AWAY as error:
            log.warning("the board could not be read: %s", type(error).__name__)
            return True
        if beat in (None, _OVER):
            return False
        self._silent = self._silent + 1 if beat == self._last else 0
        self._last = beat
        return self._silent < _SILENT_LOOKS


def progress_of(board: modal.Dict, name: str) -> int | None:
    """How many ticks of a piece are done; None before it has begun, or when Modal does not answer."""
    try:
        done: int | None = board.get(name)
    except AWAY:
        return None
    return done


def tell_progress(board: modal.Dict, name: str, done: int) -> None:
    """Say how many ticks of a piece are done; what can't be said now is said a moment later."""
    with suppress(*AWAY):
        board.put(name, done)
