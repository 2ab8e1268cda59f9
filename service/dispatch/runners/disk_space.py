"""Reserve disk space for what local runs write."""

import os
from pathlib import Path
from typing import IO

from gpu.spec import AttemptSpec, LocalFile
from infra.storage.disk_reserve import MIN_FREE_BYTES, DiskReserve

MAX_RESERVED_BYTES = 2**30
"""The most that is reserved for a run: what it will write is not known before it runs."""


class ScratchSpace:
    """Reserved space by call id; without a DiskReserve nothing is reserved, and runs may fill the disk.

    `folder` is where runs work; it may be on another disk than what the DiskReserve measures.
    """

    def __init__(self, reserve: DiskReserve | None, folder: Path) -> None:
        self._reserve = reserve
        self._folder = folder
        self._files: dict[str, Path] = {}

    @property
    def keep_bytes(self) -> int:
        """The space that a run must leave free on the disk, in bytes."""
        return MIN_FREE_BYTES if self._reserve is not None else 0

    def reserve(self, spec: AttemptSpec) -> IO[bytes]:
        """Open a file that reserves the space of a run for as long as its process keeps it open.

        Raises DiskFull.
        """
        if self._reserve is None:
            return Path(os.devnull).open("rb")
        self._reserve.check_other_disk(self._folder)
        sources = [
            Path(source.path) for source in spec.transfer.sources.values() if isinstance(source, LocalFile)
        ]
        size = sum(path.stat().st_size for path in sources if path.is_file())
        file = self._reserve.create_file(min(size, MAX_RESERVED_BYTES))
        self._files[spec.call_id] = Path(file.name)
        return file

    def release(self, call_id: str) -> None:
        """Free the space of a run that has ended."""
        if (path := self._files.pop(call_id, None)) is not None:
            path.unlink(missing_ok=True)
