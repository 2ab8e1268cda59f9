"""The peak of a process's own memory while something runs, sampled all the time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.01


@dataclass
class Peak:
    """The highest values seen, in bytes; `own` leaves out file pages, which the kernel may reclaim."""

    own: int = 0
    resident: int = 0


def read_memory(pid: int) -> Peak:
    """Return the present memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return Peak(own=sizes["RssAnon"], resident=sizes["VmRSS"])


@contextmanager
def watch_peak(pid: int) -> Iterator[Peak]:
    """Sample the peak until the block ends."""
    peak, ended = read_memory(pid), threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            now = read_memory(pid)
            peak.own, peak.resident = max(peak.own, now.own), max(peak.resident, now.resident)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
