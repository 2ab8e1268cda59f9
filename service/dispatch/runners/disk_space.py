"""Room on the disk for what local runs write."""

import os
from pathlib import Path
from typing import IO

from gpu.spec import AttemptSpec, LocalFile
from infra.storage.disk_reserve import KEEP_BYTES, DiskReserve

MAX_ROOM_BYTES = 2**30
"""How much of the disk a run is promised at most: what it will write is not known before it runs."""


class ScratchSpace:
    """The promises to runs, by call id; without a reserve nothing is promised, and runs may fill the disk."""

    def __init__(self, reserve: DiskReserve | None) -> None:
        self._reserve = reserve
        self._files: dict[str, Path] = {}

    @property
    def keep_bytes(self) -> int:
        """How much of the disk a run must leave free."""
        return KEEP_BYTES if self._reserve is not None else 0

    def reserve(self, spec: AttemptSpec) -> IO[bytes]:
        """Open a file that stands for the room that a run needs for as long as its process holds it.

        Raises DiskFull.
        """
        if self._reserve is None:
            return Path(os.devnull).open("rb")
        sources = [Path(each.path) for each in spec.transfer.sources.values() if isinstance(each, LocalFile)]
        size = sum(path.stat().st_size for path in sources if path.is_file())
        file = self._reserve.open_file(min(size, MAX_ROOM_BYTES))
        self._files[spec.call_id] = Path(file.name)
        return file

    def release(self, call_id: str) -> None:
        """Let go of the room of a run that has ended."""
        if (path := self._files.pop(call_id, None)) is not None:
            path.unlink(missing_ok=True)
