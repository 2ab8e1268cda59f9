"""An output sent to storage in parts, each checked on arrival and sent again if it was cut; no credentials are held."""

import base64
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from callbacks.reporter import Stopped
from callbacks.signing import signature_headers
from callbacks.signing_clock import SigningClock
from gpu.errors import ExportError, map_errors
from gpu.spec import RemoteUpload
from gpu.transfer.http_client import (
    CHUNK_BYTES,
    MAX_TRANSFER_SECONDS,
    MAX_TRIES,
    Clock,
    RetryableError,
    RetryBudget,
    create_http_client,
    raise_for_retryable,
)

_TOO_LARGE = "The export is larger than allowed. Choose a lower quality, a smaller picture or a shorter part."
_CODE, _MESSAGE = "output_unwritable", "The export could not be stored."
# Measured: reading a file for its checksum takes about a tenth of the time that sending it does.
_HASHING_SHARE = 0.1
_EXPIRED = frozenset({400, 401, 403})
_OVER = frozenset({404, 410})
_UNAUTHORIZED = 401

Answer = TypeVar("Answer")


class PartTarget(msgspec.Struct, frozen=True):
    """Where one part is PUT."""

    number: int
    url: str


class UploadTargets(msgspec.Struct, frozen=True):
    """What the service answers: parts that are still to be sent (not always all), each `part_size` bytes long."""

    upload_id: str
    part_size: int
    parts: list[PartTarget]


class StoredObject(msgspec.Struct, frozen=True):
    """What storage holds, as the service has found."""

    size: int
    checksum: str


@dataclass(frozen=True)
class MultipartUpload:
    """One file on its way."""

    made: Path
    target: RemoteUpload
    client: httpx.Client
    patience: RetryBudget
    size: int
    checksum: str
    signing_clock: SigningClock = field(default_factory=lambda: SigningClock(time.time))

    def upload_parts(self) -> Generator[float, None, None]:
        """Send every part that is not there, then have them joined and compared; yields the share done."""
        granted = self._asked(UploadTargets)
        tries: Counter[int] = Counter()
        while granted.parts:
            for part in granted.parts:
                tries[part.number] += 1
                if tries[part.number] > MAX_TRIES:  # it was taken each time, and yet it is not there
                    raise ExportError(_CODE, _MESSAGE, transient=True)
                if not self._put(part, granted.part_size):
                    break  # its URL is too old: those that are asked for below are new
                yield min(1.0, part.number * granted.part_size / self.size)
            granted = self._asked(UploadTargets, upload_id=granted.upload_id)
        kept = self._asked(StoredObject, upload_id=granted.upload_id, complete=True)
        if (kept.size, kept.checksum) != (self.size, self.checksum):
            raise ExportError(_CODE, _MESSAGE, transient=True)

    def _put(self, part: PartTarget, part_size: int) -> bool:
        """Send one part, from its beginning at every try; False if its URL is not accepted."""
        start = (part.number - 1) * part_size
        length = min(part_size, self.size - start)
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in _chunks(self.made, start, length):
            md5.update(chunk)
        headers = {
            "Content-Length": str(length),
            "Content-MD5": base64.b64encode(md5.digest()).decode(),
        }
        while True:
            try:
                body = _chunks(self.made, start, length)
                response = self.client.put(part.url, content=body, headers=headers)
                raise_for_retryable(response)
            except (RetryableError, httpx.HTTPError) as failure:
                self.patience.wait(failure)
                continue
            if response.is_success:
                self.patience.reset()
                return True
            if response.status_code not in _EXPIRED:
                raise ExportError(_CODE, _MESSAGE, transient=True)
            self.patience.wait(RetryableError())
            return False

    def _asked(self, answer: type[Answer], **more: object) -> Answer:
        """Ask the service; raises Stopped when it wants nothing more of this attempt."""
        asked = {"attempt": self.target.attempt, "size": self.size, "checksum": self.checksum} | more
        body = msgspec.json.encode(asked)
        while True:
            try:
                response = self.client.post(self.target.url, content=body, headers=self._signed(body))
                self._check_time(response)
                raise_for_retryable(response)
            except (RetryableError, httpx.HTTPError) as failure:
                self.patience.wait(failure)
                continue
            if response.status_code in _OVER:
                raise Stopped(f"upload: {response.status_code}")
            if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
                raise ExportError("output_too_large", _TOO_LARGE)
            if not response.is_success:
                raise ExportError(_CODE, _MESSAGE, transient=True)
            return _decoded(response.content, answer)

    def _check_time(self, response: httpx.Response) -> None:
        """Raise RetryableError if the request was signed by a wrong clock: the next one is signed by the service's."""
        if response.status_code == _UNAUTHORIZED and self.signing_clock.correct(response.headers):
            raise RetryableError

    def _signed(self, body: bytes) -> dict[str, str]:
        key = base64.b64decode(self.target.key)
        moment = int(self.signing_clock.time())
        headers = signature_headers(key, f"upload_{uuid.uuid4().hex}", moment, body)
        return headers | {"content-type": "application/json"}


def upload_file(
    made: Path,
    target: RemoteUpload,
    *,
    deadline_seconds: float = MAX_TRANSFER_SECONDS,
    clock: Clock | None = None,
) -> Generator[float, None, str]:
    """Send a finished file; yields the share done, returns its checksum `sha256:<hex>`.

    It returns only once the service has found in storage what was sent. Raises ExportError: output_unwritable;
    `callbacks.reporter.Stopped` when the attempt is over.
    """
    clock = clock or Clock()
    patience = RetryBudget(_CODE, _MESSAGE, clock.monotonic() + deadline_seconds, clock)
    with map_errors(_CODE, _MESSAGE, transient=True), create_http_client() as client:
        size, digest, read = made.stat().st_size, hashlib.sha256(), 0
        for chunk in _chunks(made, 0, size):
            digest.update(chunk)
            read += len(chunk)
            yield _HASHING_SHARE * read / size
        checksum = f"sha256:{digest.hexdigest()}"
        for share in MultipartUpload(made, target, client, patience, size, checksum).upload_parts():
            yield _HASHING_SHARE + (1 - _HASHING_SHARE) * share
    return checksum


def _decoded(content: bytes, answer: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(content, type=answer)
    except msgspec.MsgspecError:
        raise ExportError(_CODE, _MESSAGE, transient=True) from None


def _chunks(path: Path, start: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
