"""Download an exported file; an interrupted connection resumes where it stopped."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx

from framehook.errors import CorruptTransfer
from framehook.http_client import RETRYABLE_STATUSES, HttpClient

MAX_TRIES = 8

OnBytes = Callable[[int, int], object]
"""Callback with the bytes transferred so far, and the total."""


class Download:
    """Download of one file into `file`, from its beginning."""

    def __init__(self, http: HttpClient, path: str, file: BinaryIO, on_bytes: OnBytes) -> None:
        self._http = http
        self._path = path
        self._file = file
        self._on_bytes = on_bytes
        self._etag = ""
        self._restart()

    def run(self) -> str:
        """Download all of it and return the checksum of what arrived, as `sha256:<hex>`.

        Raises ClientError.
        """
        self._http.with_retries(self._download_rest, MAX_TRIES, RETRYABLE_STATUSES)
        return f"sha256:{self._digest.hexdigest()}"

    def _download_rest(self) -> httpx.Response:
        """Download what is missing, or everything if the file has changed on the server."""
        resume = {"Range": f"bytes={self._received_bytes}-", "If-Range": self._etag}
        headers = resume if self._received_bytes and self._etag else {}
        with self._http.stream(self._path, headers=headers) as response:
            if not response.is_success:
                response.read()
                return response
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                self._restart()
            # A weak ETag does not guarantee identical bytes.
            etag = response.headers.get("etag", "")
            self._etag = "" if etag.startswith("W/") else etag
            total = self._received_bytes + int(response.headers.get("content-length", 0))
            for chunk in response.iter_raw():  # unbuffered, so that an interruption loses no bytes
                self._append(chunk, total)
        return response

    def _append(self, chunk: bytes, total: int) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self._received_bytes += len(chunk)
        self._on_bytes(self._received_bytes, total)

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest, self._received_bytes, self._etag = hashlib.sha256(), 0, ""


def download_file(
    http: HttpClient, path: str, target: Path, expected_checksum: str | None, on_bytes: OnBytes
) -> None:
    """Write `target` once the file is complete and its checksum matches; else leave it alone."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            checksum = Download(http, path, file, on_bytes).run()
        if expected_checksum not in (None, checksum):
            raise CorruptTransfer("the checksum of the downloaded file is not that of the export; try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
