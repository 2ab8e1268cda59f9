"""Download an exported file; an interrupted one resumes where it stopped, even in another process."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import httpx

from framehook.errors import CorruptTransfer, Gone, NotFound, Unreachable
from framehook.http_client import RETRYABLE_STATUSES, TRANSFER_TRIES, HttpClient
from framehook.models import Export, Output
from framehook.streams.watch import export_path
from framehook.transfers.upload import OnBytes

READ_BYTES = 2**20
_RETRYABLE_STATUSES = RETRYABLE_STATUSES | {500}
_WRONG_CHECKSUM = "the checksum of the downloaded file is not that of the export; try again"


class Download:
    """Download of one file into `file`, which may hold its beginning already."""

    def __init__(
        self, http: HttpClient, path: str, file: "BinaryIO | AppendOnly", total: int, on_bytes: OnBytes
    ) -> None:
        self._http = http
        self._path = path
        self._file = file
        self._total = total
        self._on_bytes = on_bytes
        self._etag = ""
        self._digest = hashlib.sha256()
        self._received_bytes = 0

    async def run(self) -> str:
        """Download the rest and return the checksum of the file, as `sha256:<hex>`.

        Goes on as long as bytes arrive; raises FramehookError.
        """
        await self._http.transport.call(self._read_beginning)
        while self._received_bytes < self._total:
            received_bytes = self._received_bytes
            try:
                await self._http.with_retries(
                    self._download_rest, TRANSFER_TRIES, retryable=_RETRYABLE_STATUSES, is_authorized=True
                )
            except Unreachable:
                if self._received_bytes <= received_bytes:
                    raise
            else:
                break
        return f"sha256:{self._digest.hexdigest()}"

    def _read_beginning(self) -> None:
        while chunk := self._file.read(READ_BYTES):
            self._digest.update(chunk)
            self._received_bytes += len(chunk)
        if self._received_bytes > self._total:
            self._restart()

    async def _download_rest(self) -> httpx.Response:
        """Download what is missing, or everything if the file has changed on the server."""
        headers = {"Accept-Encoding": "identity"}
        if self._received_bytes:
            headers["Range"] = f"bytes={self._received_bytes}-"
        if self._received_bytes and self._etag:
            headers["If-Range"] = self._etag
        async with self._http.open(self._path, headers=headers) as response:
            if not response.is_success:
                return await self._http.read_whole(response)
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                await self._http.transport.call(self._restart)
            # A weak ETag does not guarantee identical bytes.
            etag = response.headers.get("etag", "")
            self._etag = "" if etag.startswith("W/") else etag
            async for chunk in self._http.transport.read_chunks(response):
                await self._http.transport.call(self._append, chunk)
                self._on_bytes(self._received_bytes, max(self._total, self._received_bytes))
        return response

    def _append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self._received_bytes += len(chunk)

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest, self._received_bytes, self._etag = hashlib.sha256(), 0, ""


class AppendOnly:
    """A file to which bytes can only be added, such as a pipe; it can't begin again once it has some."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_empty = True

    def read(self, _size: int) -> bytes:
        return b""

    def write(self, chunk: bytes) -> None:
        self._is_empty = False
        self._file.write(chunk)

    def seek(self, _offset: int) -> None:
        if not self._is_empty:
            raise CorruptTransfer("the file has changed on the server while it was downloaded; try again")

    def truncate(self) -> None:
        pass


async def write_output(
    http: HttpClient, path: str, file: BinaryIO, output: Output, on_bytes: OnBytes
) -> None:
    """Add the output to an open file as it arrives; raises CorruptTransfer at its end if the checksum is wrong."""
    checksum = await Download(http, path, AppendOnly(file), output.size, on_bytes).run()
    if checksum != output.checksum:
        raise CorruptTransfer(_WRONG_CHECKSUM)


async def download_output(
    http: HttpClient, path: str, target: Path, output: Output, on_bytes: OnBytes
) -> None:
    """Write `target` once the file is complete and its checksum matches; else leave it alone.

    What has arrived stays in a file beside it, from which the next download of the same output goes on.
    """
    call = http.transport.call
    part = target.with_name(f"{target.name}.{output.checksum[-12:]}.part")
    is_resumed = await call(part.exists)
    try:
        checksum = await _download_to(http, path, part, output, on_bytes)
        if checksum != output.checksum and is_resumed:
            await call(part.unlink)
            checksum = await _download_to(http, path, part, output, on_bytes)
    except (NotFound, Gone):
        await call(part.unlink, missing_ok=True)
        raise
    if checksum != output.checksum:
        await call(part.unlink)
        raise CorruptTransfer(_WRONG_CHECKSUM)
    await call(part.replace, target)


def download_path(export: Export) -> str:
    """Return the path of an export's file on the service."""
    return f"{export_path(export.job_id)}/download"


def target_of(path: Path, output_key: str) -> Path:
    """Return the path itself or, if it is a folder, the output's own name in it."""
    return path / Path(output_key).name if path.is_dir() else path


async def _download_to(http: HttpClient, path: str, part: Path, output: Output, on_bytes: OnBytes) -> str:
    file = await http.transport.call(part.open, "a+b")
    try:
        file.seek(0)
        return await Download(http, path, file, output.size, on_bytes).run()
    finally:
        is_empty = file.seek(0, os.SEEK_END) == 0
        file.close()  # blocks for the last buffer only, and must not be cancelled
        if is_empty:
            await http.transport.call(part.unlink)
