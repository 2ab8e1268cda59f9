"""A file to upload: a path, or an open binary file."""

import os
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from framehook.errors import CorruptTransfer, FramehookError

Source = str | os.PathLike[str] | IO[bytes]


class SourceFile:
    """An open file with a fixed size, from which several parts are read at the same time.

    An open file is read from its position to its end, and stays open. `path` is None for it, so that its upload is not
    resumed by a later process.
    """

    def __init__(self, source: Source, filename: str | None = None) -> None:
        self.path = Path(source) if isinstance(source, str | os.PathLike) else None
        self._lock = threading.Lock()
        self._status: os.stat_result | None = None
        if self.path is not None:
            self._file: BinaryIO = self.path.open("rb")
            self._status = os.fstat(self._file.fileno())
            self._owns_file = True
        else:
            self._file, self._owns_file = _to_seekable(cast(IO[bytes], source))
        self._start = self._file.tell()
        self.size = self._file.seek(0, os.SEEK_END) - self._start
        self.name = filename or self._find_name(source)
        if self.size == 0:
            self.__exit__(None, None, None)
            raise FramehookError(f"{self.name} is empty, or was read to its end")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owns_file:
            self._file.close()
        elif not self._file.closed:
            self._file.seek(self._start)  # so that the owner can upload it again

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset; raises CorruptTransfer if the file has become shorter."""
        with self._lock:
            self._file.seek(self._start + offset)
            chunk = self._file.read(size)
        if len(chunk) < size:
            raise self.change_error()
        return chunk

    def is_unchanged(self) -> bool:
        """Tell whether the path still leads to the same, unchanged file; an open file can't be checked."""
        if self.path is None or self._status is None:
            return True
        now, then = self.path.stat(), self._status
        return (now.st_size, now.st_mtime_ns) == (then.st_size, then.st_mtime_ns)

    def change_error(self) -> CorruptTransfer:
        return CorruptTransfer(f"{self.path or self.name} changed during the upload; upload it again")

    def _find_name(self, source: Source) -> str:
        name = self.path or getattr(source, "name", None)
        if not isinstance(name, str | Path):  # the name of an anonymous temporary file is a number
            self.__exit__(None, None, None)
            raise FramehookError(
                "the file has no name; give one with filename=, such as filename='match.mp4'"
            )
        return Path(name).name


def _to_seekable(file: IO[bytes]) -> tuple[BinaryIO, bool]:
    """Return the file itself, or a temporary copy of what can be read only once, which is closed at the end."""
    if not callable(getattr(file, "read", None)) or not isinstance(file.read(0), bytes):
        raise FramehookError("give the path of a video, or a file that is open for reading with mode 'rb'")
    if file.seekable():
        return cast(BinaryIO, file), False
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed by its owner
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy, True
