"""Processes measured from outside: wall time, processor time, and the most memory that they took."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.02
_LAST_WORDS = 2_000


@dataclass(frozen=True)
class Cost:
    """What a process took, with those that it started and waited for; the peak is of the process alone."""

    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float


class Broken(Exception):
    """A process that was measured failed, so that its figures say nothing."""


def measured(command: Sequence[str], stdin: str = "") -> Cost:
    """Run a command to its end. Raises Broken, with what it said at last, if it fails."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(stdin.encode())
        given.seek(0)
        begun = time.monotonic()
        process = subprocess.Popen(command, stdin=given, stdout=said, stderr=subprocess.STDOUT)
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise Broken(
                f"{command[0]} ended with {process.returncode}: {said.read()[-_LAST_WORDS:].decode()}"
            )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.megabytes())


class _Peak:
    """The kernel's own mark of the most memory resident, looked at until the process is gone.

    The one that it keeps for `wait4` begins at what the parent took when it started the child.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._kilobytes = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def megabytes(self) -> float:
        """The mark, once the process is gone."""
        self._thread.join()
        return self._kilobytes / 1024

    def _look(self) -> None:
        while mark := _marked(self._status):
            self._kilobytes = mark  # the last is the highest
            time.sleep(_LOOK_SECONDS)


def _marked(status: Path) -> int:
    """The mark in kilobytes; 0 of a process that is gone."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
