"""Set the clock of a cluster: of all replicas and of the runs that they start."""

import math
import struct
import time
from pathlib import Path

FOREVER_SECONDS = 365 * 86_400
"""How long users' tokens are good: no step of the clock ends them."""
TOLERANCE_SECONDS = 300.0
UNDER_WAY_SECONDS = 10.0

# A run is a process of its own; Python imports this before anything else, and finds it by PYTHONPATH.
_CUSTOMIZE = """from pathlib import Path

from tests.faults.cluster import replica_clock

replica_clock.follow(Path(__file__).with_name("offset"))
"""


def is_about_now(moment: float, offset: float = 0.0) -> bool:
    """Tell whether a clock that is `offset` seconds ahead shows about this time."""
    return abs(time.time() + offset - moment) < TOLERANCE_SECONDS


class Clock:
    """A clock that differs from the real one by all steps so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "offset"
        self.offsets = [0.0]
        self._set_at = -math.inf  # by the monotonic clock
        folder.mkdir()
        self._write(0.0)
        (folder / "sitecustomize.py").write_text(_CUSTOMIZE)

    @property
    def ahead(self) -> float:
        """Return the seconds between this clock and the real one."""
        return self.offsets[-1]

    def now(self) -> float:
        """Return the time of day that this clock shows."""
        return time.time() + self.ahead

    def latest(self) -> float:
        """Return a time that is not before any that this clock has shown."""
        return time.time() + max(self.offsets)

    def step(self, seconds: float) -> None:
        """Set the clock forward or back."""
        self.offsets.append(self.ahead + seconds)
        self._set_at = time.monotonic()
        self._write(self.ahead)

    def was_just_set(self) -> bool:
        """Tell whether work in progress may have started before the clock was set."""
        return time.monotonic() < self._set_at + UNDER_WAY_SECONDS

    def has_shown(self, moment: float) -> bool:
        """Tell whether the clock has recently shown about this time, before or after any step."""
        return any(is_about_now(moment, offset) for offset in self.offsets)

    def _write(self, seconds: float) -> None:
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("d", seconds))
