"""A file on its way into storage: in one piece, or in parts side by side, to be gone on with where they were cut."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from service.client.download import OnBytes
from service.client.errors import CorruptTransfer, RequestRejected
from service.client.http_client import RETRYABLE_STATUSES, HttpClient
from service.client.models import Key, Part, UploadTarget, content_type
from service.client.resume_state import ResumeState

CHUNK_BYTES = 256 * 1024
PARTS_FROM_BYTES = 32 * 2**20
PARTS_AT_ONCE = 4
TRIES = 8  # of one part, with pauses: a service that restarts is waited for
ROUNDS = 3  # in which nothing arrives

_OLD = frozenset({400, 401, 403, 404})


class Cut(Exception):
    """Another part has failed: this one is not sent on."""


@dataclass
class Sending:
    """One file, as it was when this began."""

    calls: HttpClient
    path: Path
    moved: OnBytes
    unfinished: ResumeState
    _each: int = 0  # bytes of a part, but for the last
    _sent: dict[int, int] = field(default_factory=dict)  # bytes of each part
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        facts = self.path.stat()
        self.size, self.changed_ns = facts.st_size, facts.st_mtime_ns

    def to_storage(self) -> str:
        """Send it; the key that it is stored under."""
        place = self._earlier() or self._granted()
        return self._in_parts(place) if place.upload else self._whole(place)

    def _earlier(self) -> UploadTarget | None:
        """Where an upload that was cut goes on, if the service still knows it and the file is the same."""
        token = self.unfinished.token(self.calls.url, self.path)
        try:
            return self._now(token) if token else None
        except RequestRejected as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise
            self.unfinished.forget(self.calls.url, self.path)
            return None

    def _granted(self) -> UploadTarget:
        name = self.path.name.encode("utf-8", "replace").decode()[-255:]
        asked = {"filename": name, "size": self.size, "content_type": content_type(self.path)}
        if self.size >= PARTS_FROM_BYTES:
            asked["parts"] = True
        place = self.calls.request_json("POST", "/api/uploads", UploadTarget, body=asked)
        if place.upload:
            self.unfinished.keep(self.calls.url, self.path, place.upload)
        return place

    def _now(self, upload: str) -> UploadTarget:
        return self.calls.request_json("GET", f"/api/uploads/{quote(upload)}", UploadTarget)

    def _whole(self, place: UploadTarget) -> str:
        headers = {**place.headers, "Content-Length": str(self.size)}
        self.calls.send(place.method, place.url, headers, lambda: self._chunks(Part(1, self.size, place.url)))
        self._check_same()
        return place.key

    def _in_parts(self, place: UploadTarget) -> str:
        upload, idle = place.upload, 0
        self._each = place.part_size
        while place.parts:
            arrived = len(place.arrived)
            self._tell(dict.fromkeys(place.arrived, place.part_size))
            refusal = self._side_by_side(place.parts)
            place = self._now(upload)
            idle = idle + 1 if len(place.arrived) <= arrived else 0
            if idle == ROUNDS:
                raise refusal or CorruptTransfer("what is sent does not arrive; try again")
        self._check_same()
        key = self.calls.request_json("POST", f"/api/uploads/{quote(upload)}/complete", Key).key
        self.unfinished.forget(self.calls.url, self.path)
        return key

    def _side_by_side(self, parts: list[Part]) -> RequestRejected | None:
        """Send all of them, or raise what the first to fail has met; a refusal by storage is returned."""
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="part") as threads:
            tasks = [threads.submit(self._one, part) for part in parts]
            try:
                refusals = [task.result() for task in tasks]
            except BaseException:
                self._ended.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _one(self, part: Part) -> RequestRejected | None:
        """Send one part, from its beginning at every try; what storage does not take may be that its URL is old."""
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in self._read(part):
            md5.update(chunk)
        headers = {"Content-Length": str(part.size), "Content-MD5": base64.b64encode(md5.digest()).decode()}
        try:
            self.calls.send("PUT", part.url, headers, lambda: self._chunks(part), TRIES, RETRYABLE_STATUSES)
        except RequestRejected as refusal:
            if refusal.status not in _OLD:
                raise
            return refusal
        return None

    def _chunks(self, part: Part) -> Iterator[bytes]:
        sent = 0
        for chunk in self._read(part):
            if self._ended.is_set():
                raise Cut
            yield chunk
            sent += len(chunk)
            self._tell({part.number: sent})

    def _read(self, part: Part) -> Iterator[bytes]:
        """The bytes of a part: each but the last is as long as every other."""
        left = part.size
        with self.path.open("rb") as file:
            file.seek((part.number - 1) * self._each)
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise self._spoilt()

    def _tell(self, sent: dict[int, int]) -> None:
        with self._lock:
            self._sent |= sent
            self.moved(min(sum(self._sent.values()), self.size), self.size)

    def _check_same(self) -> None:
        facts = self.path.stat()
        if (facts.st_size, facts.st_mtime_ns) != (self.size, self.changed_ns):
            self.unfinished.forget(self.calls.url, self.path)
            raise self._spoilt()

    def _spoilt(self) -> CorruptTransfer:
        return CorruptTransfer(f"{self.path} changed while it was being sent")
