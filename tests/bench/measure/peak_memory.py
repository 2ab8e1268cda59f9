"""What a process holds of memory while something goes on: the most of it that is its own, looked at all the time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.01


@dataclass
class Peak:
    """The most seen, in bytes: `own` without what is of files, whose pages the kernel takes back as it likes."""

    own: int = 0
    resident: int = 0


def held(pid: int) -> Peak:
    """What a process holds now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return Peak(own=sizes["RssAnon"], resident=sizes["VmRSS"])


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """The peak, grown until the block ends."""
    peak, ended = held(pid), threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            now = held(pid)
            peak.own, peak.resident = max(peak.own, now.own), max(peak.resident, now.resident)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
