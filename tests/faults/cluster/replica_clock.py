"""The time of day of replicas and their runs: the real time plus an offset in a file.

Importing this replaces `time.time`, so it is imported before the service and only in processes of its own. The
monotonic clock is not changed, as on a machine whose clock is set.
"""

import mmap
import os
import struct
import time
from datetime import datetime, tzinfo
from pathlib import Path

FILE = "FAULTS_CLOCK"
"""The setting that names the file."""
FOLDER = "clock"
_SECONDS = struct.Struct("d")
_time, _time_ns = time.time, time.time_ns
_offset: list[mmap.mmap] = []


class MovedDatetime(datetime):
    """A `datetime` whose `now` follows the moved clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "MovedDatetime":
        return cls.fromtimestamp(time.time(), tz)


def follow(path: Path) -> None:
    """Take the offset from this file from now on."""
    with path.open("rb") as file:
        _offset[:] = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)]


def follow_setting() -> None:
    """Follow the file that the environment names, if it names one."""
    if path := os.environ.get(FILE):
        follow(Path(path))


def _ahead() -> float:
    return float(_SECONDS.unpack_from(_offset[0])[0]) if _offset else 0.0


def _read_moved_time() -> float:
    return _time() + _ahead()


def _read_moved_time_ns() -> int:
    return _time_ns() + int(_ahead() * 1e9)


vars(time).update(time=_read_moved_time, time_ns=_read_moved_time_ns)
