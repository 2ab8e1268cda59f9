"""The sample video as a file that is created when it is asked for."""

import asyncio
import sys
import tempfile
from pathlib import Path

_NAME = "sample.mp4"


class SampleFile:
    """The sample in a folder; it is created once, in a process of its own, since that takes seconds of CPU time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._lock = asyncio.Lock()

    async def load(self) -> Path:
        """Return the path of the sample; raises OSError if it can't be created."""
        async with self._lock:
            if not await asyncio.to_thread(self._path.is_file):
                await self._create()
        return self._path

    async def _create(self) -> None:
        """Create it beside its place and move it there, so that a process that dies leaves no half of it."""
        await asyncio.to_thread(self._path.parent.mkdir, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
            fresh = Path(folder) / _NAME
            arguments = ("-m", "service.sample_video", str(fresh))
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            if status != 0:
                raise OSError(f"the process that creates the sample video ended with status {status}")
            fresh.replace(self._path)
