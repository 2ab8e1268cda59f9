"""Read a remote object as a seekable file by HTTP ranges, without downloading it first."""

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
from gpu.transfer.source_errors import UNAVAILABLE, check_status, source_changed

FIRST_WINDOW_BYTES = 256 * 1024
MAX_WINDOW_BYTES = 4 * 1024 * 1024
MAX_WINDOWS = 3

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangesUnsupported(Exception):
    """The server does not support range requests."""


class RangeSource:
    """An object behind a presigned GET URL.

    `size` is in bytes; `etag` ties every read to the version that was read first. Every method raises ExportError:
    source_missing, source_changed, source_forbidden, source_unreadable, source_unavailable. The deadline counts from
    the creation of the object and covers all reads.
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
        """Read the beginning, size and ETag of the object.

        Raises RangesUnsupported.
        """
        self._first = self.read_at(0, FIRST_WINDOW_BYTES)

    def open(self) -> "RangeReader":
        """Return a new file that reads the object; it keeps no connection between reads."""
        return RangeReader(self, self._first)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; continues after a lost connection."""
        retries = self._retry_budget()
        received = bytearray()
        while len(received) < length and (not self.size or offset + len(received) < self.size):
            before = len(received)
            try:
                self._receive(received, offset, length)
            except (RetryableError, httpx.HTTPError, OSError) as failure:
                if len(received) > before:
                    retries.reset()
                retries.wait(failure)
        return bytes(received)

    def download(self, path: Path) -> None:
        """Download the object to a file, for servers without ranges.

        A lost connection starts the download again.
        """
        retries = self._retry_budget()
        while True:
            try:
                self._download_once(path)
            except (RetryableError, httpx.HTTPError) as failure:
                retries.wait(failure)
            else:
                return

    def _retry_budget(self) -> RetryBudget:
        return RetryBudget("source_unavailable", UNAVAILABLE, self._deadline, self._clock)

    def _receive(self, received: bytearray, offset: int, length: int) -> None:
        """Request the missing bytes and append them as they arrive."""
        start = offset + len(received)
        headers = {"Range": f"bytes={start}-{offset + length - 1}", "Accept-Encoding": "identity"}
        if self.etag is not None:
            headers["If-Match"] = self.etag
        with self._client.stream("GET", self._url, headers=headers) as response:
            self._check(response, start)
            # Unbuffered, so that a lost connection loses nothing that has arrived.
            for chunk in response.iter_raw():
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
        check_status(response.status_code)
        if response.status_code == httpx.codes.OK:
            raise RangesUnsupported
        span = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status_code != httpx.codes.PARTIAL_CONTENT or span is None or int(span[1]) != start:
            raise ExportError("source_unavailable", UNAVAILABLE, transient=True)
        etag = response.headers.get("etag")
        if self.size and (int(span[3]), etag) != (self.size, self.etag):
            raise source_changed()
        self.size, self.etag = int(span[3]), etag

    def _download_once(self, path: Path) -> None:
        with self._client.stream("GET", self._url, headers={"Accept-Encoding": "identity"}) as response:
            raise_for_retryable(response)
            check_status(response.status_code)
            with path.open("wb") as file:
                for chunk in response.iter_raw(CHUNK_BYTES):
                    file.write(chunk)
                    if self._clock.monotonic() > self._deadline:
                        raise RetryableError
        expected = response.headers.get("content-length")
        if expected is not None and path.stat().st_size != int(expected):
            raise RetryableError


@dataclass(frozen=True)
class _Window:
    start: int
    content: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.content)


class RangeReader(io.RawIOBase):
    """A seekable file that reads ahead: little after a seek, more with every sequential read.

    The last few windows are kept, because demuxers alternate between video and audio.
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
            raise ValueError("the position would be before the beginning of the file")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes: fewer at the end of a window, none at the end of the object."""
        left = self._source.size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        window = self._window_at_position(wanted)
        begin = self._position - window.start
        content = window.content[begin : begin + wanted]
        self._position += len(content)
        return content

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _window_at_position(self, wanted: int) -> _Window:
        for window in self._windows:
            if window.start <= self._position < window.end:
                return window
        previous = next((window for window in self._windows if window.end == self._position), None)
        readahead = min(2 * len(previous.content), MAX_WINDOW_BYTES) if previous else FIRST_WINDOW_BYTES
        length = min(max(readahead, min(wanted, MAX_WINDOW_BYTES)), self._source.size - self._position)
        window = _Window(self._position, self._source.read_at(self._position, length))
        others = [other for other in self._windows if other is not previous]
        self._windows = [window, *others][:MAX_WINDOWS]
        return window


SourceLocation = str | RangeSource
"""Where a source is opened: a path on this machine, or a remote object."""


def locate_source(
    url: str, scratch: Path, *, deadline_seconds: float = MAX_TRANSFER_SECONDS
) -> SourceLocation:
    """Return a location for reading the object at `url`.

    From a server without ranges it is downloaded to a file in `scratch`. Raises ExportError as RangeSource does, and
    disk_full.
    """
    source = RangeSource(url, deadline_seconds=deadline_seconds)
    try:
        source.probe()
    except RangesUnsupported:
        path = scratch / f"source-{uuid.uuid4().hex}"
        with map_errors(
            "scratch_unwritable", "The machine has not enough disk space for the source.", transient=True
        ):
            source.download(path)
        return str(path)
    return source
