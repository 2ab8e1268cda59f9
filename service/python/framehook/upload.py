"""Upload a file to storage: in one request, or in parallel parts that can be resumed."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from framehook.download import OnBytes
from framehook.errors import CorruptTransfer, RequestRejected
from framehook.http_client import RETRYABLE_STATUSES, HttpClient
from framehook.models import Part, StoredFile, UploadTarget, content_type
from framehook.resume_state import ResumeState

READ_BYTES = 256 * 1024
MULTIPART_FROM_BYTES = 32 * 2**20
PARALLEL_PARTS = 4
MAX_PART_TRIES = 8  # with backoff, so that a restart of the service does not fail a part
MAX_IDLE_ROUNDS = 3  # rounds in which no part arrives

_EXPIRED_URL_STATUSES = frozenset({400, 401, 403, 404})


class UploadInterrupted(Exception):
    """Another part has failed, so this one is abandoned."""


@dataclass
class Upload:
    """Upload of one file; its size and modification time must stay the same."""

    http: HttpClient
    path: Path
    on_bytes: OnBytes
    resume_state: ResumeState
    _part_size: int = 0  # of every part but the last
    _sent_bytes: dict[int, int] = field(default_factory=dict)  # by part number
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        status = self.path.stat()
        self.size, self.modified_ns = status.st_size, status.st_mtime_ns

    def run(self) -> str:
        """Upload the file and return its key."""
        target = self._resume_target() or self._request_target()
        return self._upload_parts(target) if target.upload else self._upload_single(target)

    def _resume_target(self) -> UploadTarget | None:
        """Return the target of an unfinished upload of the same file, if it still exists."""
        upload = self.resume_state.load_upload(self.http.url, self.path)
        try:
            return self._load_target(upload) if upload else None
        except RequestRejected as rejection:
            if rejection.status != httpx.codes.NOT_FOUND:
                raise
            self.resume_state.forget(self.http.url, self.path)
            return None

    def _request_target(self) -> UploadTarget:
        name = self.path.name.encode("utf-8", "replace").decode()[-255:]
        body = {"filename": name, "size": self.size, "content_type": content_type(self.path)}
        if self.size >= MULTIPART_FROM_BYTES:
            body["parts"] = True
        target = self.http.request_json("POST", "/api/uploads", UploadTarget, body=body)
        if target.upload:
            self.resume_state.save_upload(self.http.url, self.path, target.upload)
        return target

    def _load_target(self, upload: str) -> UploadTarget:
        return self.http.request_json("GET", f"/api/uploads/{quote(upload)}", UploadTarget)

    def _upload_single(self, target: UploadTarget) -> str:
        headers = {**target.headers, "Content-Length": str(self.size)}
        whole_file = Part(1, self.size, target.url)
        self.http.send(target.method, target.url, headers, lambda: self._report_chunks(whole_file))
        self._check_unchanged()
        return target.key

    def _upload_parts(self, target: UploadTarget) -> str:
        upload, idle_rounds = target.upload, 0
        self._part_size = target.part_size
        while target.parts:
            arrived = len(target.arrived)
            self._report(dict.fromkeys(target.arrived, target.part_size))
            rejection = self._upload_parallel(target.parts)
            target = self._load_target(upload)
            idle_rounds = idle_rounds + 1 if len(target.arrived) <= arrived else 0
            if idle_rounds == MAX_IDLE_ROUNDS:
                raise rejection or CorruptTransfer("the storage does not keep the uploaded parts; try again")
        self._check_unchanged()
        key = self.http.request_json("POST", f"/api/uploads/{quote(upload)}/complete", StoredFile).key
        self.resume_state.forget(self.http.url, self.path)
        return key

    def _upload_parallel(self, parts: list[Part]) -> RequestRejected | None:
        """Upload the parts; raise the first error, but return a rejection by the storage."""
        with ThreadPoolExecutor(PARALLEL_PARTS, thread_name_prefix="part") as threads:
            tasks = [threads.submit(self._upload_part, part) for part in parts]
            try:
                rejections = [task.result() for task in tasks]
            except BaseException:
                self._stopped.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return next((rejection for rejection in rejections if rejection is not None), None)

    def _upload_part(self, part: Part) -> RequestRejected | None:
        """Upload one part; return a rejection that an expired URL may explain."""
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in self._read(part):
            md5.update(chunk)
        headers = {"Content-Length": str(part.size), "Content-MD5": base64.b64encode(md5.digest()).decode()}
        try:
            self.http.send(
                "PUT",
                part.url,
                headers,
                lambda: self._report_chunks(part),
                MAX_PART_TRIES,
                RETRYABLE_STATUSES,
            )
        except RequestRejected as rejection:
            if rejection.status not in _EXPIRED_URL_STATUSES:
                raise
            return rejection
        return None

    def _report_chunks(self, part: Part) -> Iterator[bytes]:
        sent = 0
        for chunk in self._read(part):
            if self._stopped.is_set():
                raise UploadInterrupted
            yield chunk
            sent += len(chunk)
            self._report({part.number: sent})

    def _read(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a part; raises CorruptTransfer if the file has become shorter."""
        left = part.size
        with self.path.open("rb") as file:
            file.seek((part.number - 1) * self._part_size)
            while left and (chunk := file.read(min(READ_BYTES, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise self._file_changed()

    def _report(self, sent_bytes: dict[int, int]) -> None:
        with self._lock:
            self._sent_bytes |= sent_bytes
            self.on_bytes(min(sum(self._sent_bytes.values()), self.size), self.size)

    def _check_unchanged(self) -> None:
        status = self.path.stat()
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns):
            self.resume_state.forget(self.http.url, self.path)
            raise self._file_changed()

    def _file_changed(self) -> CorruptTransfer:
        return CorruptTransfer(f"{self.path} changed during the upload; run the command again")
