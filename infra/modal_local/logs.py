"""The output of containers: one file per app, and a stream for the client that follows a run."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from modal_proto import api_pb2

from infra.modal_local.apps import Apps


class Logs:
    """The output of every app's containers."""

    def __init__(self, directory: Path, apps: Apps) -> None:
        self._directory = directory
        self._directory.mkdir(exist_ok=True)
        self._apps = apps
        self._writers: Counter[str] = Counter()
        self._changed = asyncio.Event()

    @contextmanager
    def open_writer(self, app_id: str) -> Generator[Callable[[str], None], None, None]:
        """Yield a function that appends to the output of an app."""
        self._writers[app_id] += 1
        with self._log_path(app_id).open("a", encoding="utf-8", buffering=1) as file:

            def write(text: str) -> None:
                file.write(text)
                file.flush()
                self.wake()

            try:
                yield write
            finally:
                self._writers[app_id] -= 1
                self.wake()

    def wake(self) -> None:
        """Wake the streams, which then read the files again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def app_get_logs(
        self, request: api_pb2.AppGetLogsRequest
    ) -> AsyncGenerator[api_pb2.TaskLogsBatch, None]:
        """Stream the output of an app to its end, or until `timeout` seconds pass without output.

        The ids of entries are offsets in the file.
        """
        offset = int(request.last_entry_id or 0)
        while True:
            changed = self._changed
            is_done = not self._writers[request.app_id] and not self._apps.exists(request.app_id)
            if text := self._read(request.app_id, offset):
                offset += len(text)
                batch = api_pb2.TaskLogsBatch(entry_id=str(offset))
                batch.items.add(
                    data=text.decode(errors="replace"), file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT
                )
                yield batch
            elif is_done:
                yield api_pb2.TaskLogsBatch(entry_id=str(offset), app_done=True)
                return
            else:
                try:
                    async with asyncio.timeout(request.timeout):
                        await changed.wait()
                except TimeoutError:
                    return

    def _read(self, app_id: str, offset: int) -> bytes:
        path = self._log_path(app_id)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()

    def _log_path(self, app_id: str) -> Path:
        return self._directory / f"{app_id}.log"
