"""Exchange heartbeat and progress between an export and its remote chunk workers through a Modal Dict.

The export sends a heartbeat as long as it needs its chunks; each worker writes its progress. Modal does not end a call
when its caller dies, so a worker that reads no new heartbeat stops by itself: when the export is cancelled, crashes, is
preempted or runs out of time, no worker goes on for longer than a few seconds.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import modal
import modal.exception

HEARTBEAT_SECONDS = 1.0
# Reads in a row that succeeded and returned no new heartbeat; reads that fail say nothing about the export.
_MAX_SILENT_POLLS = 5
_HEARTBEAT_KEY, _DONE = "beat", "over"

log = logging.getLogger(__name__)

UNREACHABLE_ERRORS = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ResourceExhaustedError,
    OSError,  # the builtin TimeoutError, too
)
"""Errors after which Modal may answer again."""


@contextmanager
def send_heartbeat() -> "Iterator[modal.Dict]":
    """Send a heartbeat through a new Dict, which the block gets, until the block ends; raises Modal's errors."""
    with modal.Dict.ephemeral() as channel:
        channel.put(_HEARTBEAT_KEY, 0)
        ended = threading.Event()
        sender = threading.Thread(target=_beat_loop, args=(channel, ended), name="heartbeat", daemon=True)
        sender.start()
        try:
            yield channel
        finally:
            ended.set()
            sender.join(3 * HEARTBEAT_SECONDS)


def _beat_loop(channel: modal.Dict, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(HEARTBEAT_SECONDS):
        number += 1
        with suppress(*UNREACHABLE_ERRORS):
            channel.put(_HEARTBEAT_KEY, number)
    with suppress(modal.exception.Error, OSError):
        channel.put(_HEARTBEAT_KEY, _DONE)


class HeartbeatMonitor:
    """Reads the heartbeat of the export that a worker belongs to."""

    def __init__(self, channel: modal.Dict) -> None:
        self._channel = channel
        self._last: object = None
        self._silent_polls = 0

    def is_parent_alive(self) -> bool:
        """Return whether the export still runs; call it once every HEARTBEAT_SECONDS."""
        try:
            beat = self._channel.get(_HEARTBEAT_KEY)
        except modal.exception.NotFoundError:
            return False
        except UNREACHABLE_ERRORS as error:
            log.warning("the heartbeat could not be read: %s", type(error).__name__)
            return True
        if beat in (None, _DONE):
            return False
        self._silent_polls = self._silent_polls + 1 if beat == self._last else 0
        self._last = beat
        return self._silent_polls < _MAX_SILENT_POLLS


def read_progress(channel: modal.Dict, name: str) -> int | None:
    """Return how many ticks of a chunk are done; None before it begins and while Modal does not answer."""
    try:
        done: int | None = channel.get(name)
    except UNREACHABLE_ERRORS:
        return None
    return done


def write_progress(channel: modal.Dict, name: str, done: int) -> None:
    """Write how many ticks of a chunk are done; a write that fails is made up for by the next one."""
    with suppress(*UNREACHABLE_ERRORS):
        channel.put(name, done)
