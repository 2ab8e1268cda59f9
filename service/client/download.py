"""An exported file on its way here, over as many connections as that takes: each goes on where the last was cut."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx

from service.client.errors import CorruptTransfer
from service.client.http_client import RETRYABLE_STATUSES, HttpClient

TRIES = 8

OnBytes = Callable[[int, int], object]  # bytes so far, and of how many


class Download:
    """One file, written to `file` from its beginning."""

    def __init__(self, calls: HttpClient, path: str, file: BinaryIO, moved: OnBytes) -> None:
        self._calls = calls
        self._path = path
        self._file = file
        self._moved = moved
        self._etag = ""
        self._anew()

    def checksum(self) -> str:
        """Fetch all of it; what arrived, as `sha256:<hex>`. Raises ClientError."""
        self._calls.with_retries(self._more, TRIES, RETRYABLE_STATUSES)
        return f"sha256:{self._digest.hexdigest()}"

    def _more(self) -> httpx.Response:
        """What is missing; all of it, if what has arrived is of another file than is there now."""
        onwards = {"Range": f"bytes={self._received}-", "If-Range": self._etag}
        headers = onwards if self._received and self._etag else {}
        with self._calls.stream(self._path, headers=headers) as response:
            if not response.is_success:
                response.read()
                return response
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                self._anew()
            # A weak tag vouches for no single byte.
            tag = response.headers.get("etag", "")
            self._etag = "" if tag.startswith("W/") else tag
            total = self._received + int(response.headers.get("content-length", 0))
            for chunk in response.iter_raw():  # as it comes: a cut loses nothing that has arrived
                self._take(chunk, total)
        return response

    def _take(self, chunk: bytes, total: int) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self._received += len(chunk)
        self._moved(self._received, total)

    def _anew(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest, self._received, self._etag = hashlib.sha256(), 0, ""


def download_file(calls: HttpClient, path: str, target: Path, expected: str | None, moved: OnBytes) -> None:
    """A file under its name once it is whole, and has the checksum expected of it; or not at all."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            checksum = Download(calls, path, file, moved).checksum()
        if expected not in (None, checksum):
            raise CorruptTransfer("the file that arrived is not the one that was exported; try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
