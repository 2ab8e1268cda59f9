"""Upload a file to storage: in one request, or in parallel parts that can be resumed."""

import base64
import hashlib
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from framehook.errors import CorruptTransfer, NotFound, Problem
from framehook.http_client import RETRYABLE_STATUSES, TRANSFER_TRIES, HttpClient
from framehook.models import Part, StoredFile, UploadTarget
from framehook.transfers.resume_state import ResumeState
from framehook.transfers.source_file import SourceFile

READ_BYTES = 256 * 1024
MULTIPART_FROM_BYTES = 32 * 2**20
PARALLEL_PARTS = 4
MAX_IDLE_ROUNDS = 3  # rounds in which no part arrives

_EXPIRED_URL_STATUSES = frozenset({400, 401, 403, 404})
_PART_RETRYABLE_STATUSES = RETRYABLE_STATUSES | {500}

OnBytes = Callable[[int, int], object]
"""Callback with the bytes transferred so far, and the total; perhaps from another thread, never from two at once."""


class UploadInterrupted(Exception):
    """Another part has failed, so this one is abandoned."""


@dataclass
class Upload:
    """Upload of one file; its size and modification time must stay the same."""

    http: HttpClient
    source: SourceFile
    on_bytes: OnBytes
    resume_state: ResumeState
    content_type: str | None = None
    _part_size: int = 0  # of every part but the last
    _sent_bytes: dict[int, int] = field(default_factory=dict)  # by part number
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_stopped: bool = False

    async def run(self) -> str:
        """Upload the file and return its key."""
        target = await self._resume_target() or await self._request_target()
        if target.upload:
            return await self._upload_parts(target, target.upload)
        return await self._upload_single(target, target.url or "")

    async def _resume_target(self) -> UploadTarget | None:
        """Return the target of an unfinished upload of the same file, if it still exists."""
        path = self.source.path
        upload = self.resume_state.load_upload(self.http.url, path) if path else None
        if upload is None:
            return None
        try:
            return await self._load_target(upload)
        except NotFound:
            self._forget()
            return None

    async def _request_target(self) -> UploadTarget:
        name = self.source.name.encode("utf-8", "replace").decode()[-255:]
        body: dict[str, object] = {"filename": name, "size": self.source.size}
        if self.content_type is not None:
            body["content_type"] = self.content_type
        if self.source.size >= MULTIPART_FROM_BYTES:
            body["parts"] = True
        target = await self.http.load(UploadTarget, "POST", "/api/uploads", body=body)
        if target.upload and self.source.path:
            self.resume_state.save_upload(self.http.url, self.source.path, target.upload)
        return target

    async def _load_target(self, upload: str) -> UploadTarget:
        path = f"/api/uploads/{quote(upload)}"
        return await self.http.load(UploadTarget, "GET", path, tries=TRANSFER_TRIES)

    async def _upload_single(self, target: UploadTarget, url: str) -> str:
        headers = {**target.headers, "Content-Length": str(self.source.size)}
        whole_file = Part(1, self.source.size, url)
        await self.http.send_file(target.method, url, headers, partial(self._send_chunks, whole_file))
        self._check_unchanged()
        return target.key

    async def _upload_parts(self, target: UploadTarget, upload: str) -> str:
        idle_rounds = 0
        self._part_size = target.part_size
        while target.parts:
            arrived = len(target.arrived)
            self._report(dict.fromkeys(target.arrived, target.part_size))
            rejections = await self.http.transport.run_parallel(
                [partial(self._upload_part, part) for part in target.parts], PARALLEL_PARTS, self._stop
            )
            target = await self._load_target(upload)
            idle_rounds = idle_rounds + 1 if len(target.arrived) <= arrived else 0
            if idle_rounds == MAX_IDLE_ROUNDS:
                raise next(filter(None, rejections), None) or CorruptTransfer(
                    "the storage does not keep the uploaded parts; try again"
                )
        self._check_unchanged()
        path = f"/api/uploads/{quote(upload)}/complete"
        key = (await self.http.load(StoredFile, "POST", path, tries=TRANSFER_TRIES)).key
        self._forget()
        return key

    async def _upload_part(self, part: Part) -> Problem | None:
        """Upload one part; return a rejection that an expired URL may explain."""
        md5 = hashlib.md5(usedforsecurity=False)
        async for chunk in self._read(part):
            md5.update(chunk)
        headers = {"Content-Length": str(part.size), "Content-MD5": base64.b64encode(md5.digest()).decode()}
        try:
            await self.http.send_file(
                "PUT", part.url, headers, partial(self._send_chunks, part), _PART_RETRYABLE_STATUSES
            )
        except Problem as rejection:
            if rejection.status not in _EXPIRED_URL_STATUSES:
                raise
            return rejection
        return None

    async def _send_chunks(self, part: Part) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a part, and report each chunk when the next is wanted."""
        sent = 0
        async for chunk in self._read(part):
            if self._is_stopped:
                raise UploadInterrupted
            yield chunk
            sent += len(chunk)
            self._report({part.number: sent})

    async def _read(self, part: Part) -> AsyncGenerator[bytes, None]:
        start = (part.number - 1) * self._part_size
        for offset in range(0, part.size, READ_BYTES):
            size = min(READ_BYTES, part.size - offset)
            yield await self.http.transport.call(self.source.read, start + offset, size)

    def _report(self, sent_bytes: dict[int, int]) -> None:
        with self._lock:
            self._sent_bytes |= sent_bytes
            self.on_bytes(min(sum(self._sent_bytes.values()), self.source.size), self.source.size)

    def _stop(self) -> None:
        self._is_stopped = True

    def _forget(self) -> None:
        if self.source.path:
            self.resume_state.forget(self.http.url, self.source.path)

    def _check_unchanged(self) -> None:
        with suppress(FileNotFoundError):
            if self.source.is_unchanged():
                return
        self._forget()
        raise self.source.change_error()
