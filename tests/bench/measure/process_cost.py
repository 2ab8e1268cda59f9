"""Measure processes from outside: wall time, CPU time and peak memory."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure.samples import Samples

_LOOK_SECONDS = 0.02
_LAST_WORDS = 2_000


@dataclass(frozen=True)
class Cost:
    """What a process and its children took; the peak is of the process alone."""

    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float


def add_cost(samples: Samples, variant: str, cost: Cost) -> None:
    """Add what a process cost in one round."""
    samples.add(variant, "wall", cost.wall_seconds, "s")
    samples.add(variant, "CPU", cost.cpu_seconds, "s")
    samples.add(variant, "peak memory", cost.peak_megabytes, "MiB")


class ProcessFailed(Exception):
    """A measured process failed, so that its figures mean nothing."""


def measure_process(command: Sequence[str], stdin: str = "") -> Cost:
    """Run a command to its end. Raises ProcessFailed with its last output."""
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
            raise ProcessFailed(
                f"{command[0]} ended with {process.returncode}: {said.read()[-_LAST_WORDS:].decode()}"
            )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.megabytes())


class _Peak:
    """The kernel's high-water mark of resident memory, sampled until the process is gone.

    The mark that `wait4` reports starts at what the parent used when it started the child.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._kilobytes = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def megabytes(self) -> float:
        """Return the mark once the process is gone."""
        self._thread.join()
        return self._kilobytes / 1024

    def _look(self) -> None:
        while mark := _read_mark(self._status):
            self._kilobytes = mark  # the last is the highest
            time.sleep(_LOOK_SECONDS)


def _read_mark(status: Path) -> int:
    """Return the mark in kilobytes, or 0 for a process that is gone."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
