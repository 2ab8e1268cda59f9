"""A source on another machine, read by range as if it were a file: nothing is downloaded first, nothing held whole."""

import io
import re
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path

import httpx

from gpu.errors import ExportError, map_errors
from gpu.transfer.http_client import (
    CHUNK_BYTES,
    MAX_TRANSFER_SECONDS,
    Clock,
    RetryableError,
    RetryBudget,
    create_http_client,
    raise_for_retryable,
)

FIRST_WINDOW_BYTES = 256 * 1024
MAX_WINDOW_BYTES = 4 * 1024 * 1024
WINDOWS = 3

_UNAVAILABLE = "The source can't be read from storage now."
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangesUnsupported(Exception):
    """The server sends objects whole, or not at all."""


class RangeSource:
    """An object behind a presigned GET. `size` in bytes; `etag` binds every read to the object first seen.

    Every method raises ExportError: source_missing, source_changed, source_forbidden, source_unreadable,
    source_unavailable. The deadline counts from here, over everything that is read.
    """

    def __init__(
        self, url: str, *, deadline_seconds: float = MAX_TRANSFER_SECONDS, clock: Clock | None = None
    ) -> None:
        self._url = url
        self._clock = clock or Clock()
        self._deadline = self._clock.monotonic() + deadline_seconds
        self._client = create_http_client()
        self.close = weakref.finalize(self, self._client.close)
        self.size = 0
        self.etag: str | None = None
        self._first = b""

    def probe(self) -> None:
        """Read the beginning, and with it size and ETag; raises RangesUnsupported."""
        self._first = self.read_at(0, FIRST_WINDOW_BYTES)

    def open(self) -> "RangeReader":
        """A file of one's own onto the object; it holds no connection between reads."""
        return RangeReader(self, self._first)

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; what a cut connection left out is asked for again."""
        patience = self._patience()
        received = bytearray()
        while len(received) < length and (not self.size or offset + len(received) < self.size):
            begun = len(received)
            try:
                self._receive(received, offset, length)
            except (RetryableError, httpx.HTTPError, OSError) as failure:
                if len(received) > begun:
                    patience.reset()
                patience.wait(failure)
        return bytes(received)

    def download(self, path: Path) -> None:
        """The object as a file, for servers that know no ranges: a cut begins it anew."""
        patience = self._patience()
        while True:
            try:
                self._receive_whole(path)
            except (RetryableError, httpx.HTTPError) as failure:
                patience.wait(failure)
            else:
                return

    def _patience(self) -> RetryBudget:
        return RetryBudget("source_unavailable", _UNAVAILABLE, self._deadline, self._clock)

    def _receive(self, received: bytearray, offset: int, length: int) -> None:
        """Ask for what is missing and add it as it comes."""
        start = offset + len(received)
        headers = {"Range": f"bytes={start}-{offset + length - 1}", "Accept-Encoding": "identity"}
        if self.etag is not None:
            headers["If-Match"] = self.etag
        with self._client.stream("GET", self._url, headers=headers) as response:
            self._check(response, start)
            for chunk in response.iter_raw():  # as it comes: a cut loses nothing that has arrived
                received += chunk
                if len(received) >= length:
                    del received[length:]
                    return
                if self._clock.monotonic() > self._deadline:
                    raise RetryableError
        if offset + len(received) == start:
            raise RetryableError

    def _check(self, response: httpx.Response, start: int) -> None:
        raise_for_retryable(response)
        _check_status(response.status_code)
        if response.status_code == httpx.codes.OK:
            raise RangesUnsupported
        span = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status_code != httpx.codes.PARTIAL_CONTENT or span is None or int(span[1]) != start:
            raise ExportError("source_unavailable", _UNAVAILABLE, transient=True)
        etag = response.headers.get("etag")
        if self.size and (int(span[3]), etag) != (self.size, self.etag):
            raise _changed()
        self.size, self.etag = int(span[3]), etag

    def _receive_whole(self, path: Path) -> None:
        with self._client.stream("GET", self._url, headers={"Accept-Encoding": "identity"}) as response:
            raise_for_retryable(response)
            _check_status(response.status_code)
            with path.open("wb") as file:
                for chunk in response.iter_raw(CHUNK_BYTES):
                    file.write(chunk)
                    if self._clock.monotonic() > self._deadline:
                        raise RetryableError
        promised = response.headers.get("content-length")
        if promised is not None and path.stat().st_size != int(promised):
            raise RetryableError


@dataclass(frozen=True)
class _Window:
    start: int
    content: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.content)


class RangeReader(io.RawIOBase):
    """A seekable file that reads ahead: little after a jump, more the longer it is read in order.

    The last few windows are kept, since demuxers go to and fro between picture and sound.
    """

    def __init__(self, source: RangeSource, first: bytes) -> None:
        self._source = source
        self._position = 0
        self._windows = [_Window(0, first)]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a file has nothing before its beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes; fewer at the end of a window, none only at the end of the object."""
        left = self._source.size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        window = self._window(wanted)
        begin = self._position - window.start
        found = window.content[begin : begin + wanted]
        self._position += len(found)
        return found

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _window(self, wanted: int) -> _Window:
        for window in self._windows:
            if window.start <= self._position < window.end:
                return window
        before = next((window for window in self._windows if window.end == self._position), None)
        ahead = min(2 * len(before.content), MAX_WINDOW_BYTES) if before else FIRST_WINDOW_BYTES
        length = min(max(ahead, min(wanted, MAX_WINDOW_BYTES)), self._source.size - self._position)
        fresh = _Window(self._position, self._source.read_at(self._position, length))
        kept = [window for window in self._windows if window is not before]
        self._windows = [fresh, *kept][:WINDOWS]
        return fresh


SourceLocation = str | RangeSource
"""Where a source is opened: a path on this machine, or an object elsewhere."""


def locate_source(
    url: str, scratch: Path, *, deadline_seconds: float = MAX_TRANSFER_SECONDS
) -> SourceLocation:
    """The object, read in place; downloaded to a file in `scratch` from a server that knows no ranges.

    Raises ExportError as RangeSource does, and disk_full.
    """
    source = RangeSource(url, deadline_seconds=deadline_seconds)
    try:
        source.probe()
    except RangesUnsupported:
        path = scratch / f"source-{uuid.uuid4().hex}"
        with map_errors("scratch_unwritable", "The machine has no room for the source.", transient=True):
            source.download(path)
        return str(path)
    return source


def _check_status(status: int) -> None:
    match status:
        case 200 | 206:
            return
        case 404 | 410:
            raise ExportError("source_missing", "The export's source does not exist.")
        case 412:
            raise _changed()
        case 416:
            raise ExportError("source_unreadable", "The source is empty; it may not have been uploaded.")
        case 400 | 401 | 403:
            message = "The source may no longer be read under the address that was given for it."
            raise ExportError("source_forbidden", message, transient=True)
        case _:
            raise ExportError("source_unavailable", _UNAVAILABLE, transient=True)


def _changed() -> ExportError:
    return ExportError("source_changed", "The source was replaced while it was read.", transient=True)
