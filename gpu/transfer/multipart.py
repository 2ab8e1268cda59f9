"""Upload an output to storage in parts over presigned URLs.

A part that fails is sent again. Storage checks each part by its MD5. The run has no credentials.
"""

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
# Measured: reading a file for its checksum takes about a tenth of the time of sending it.
_HASHING_SHARE = 0.1
_REJECTED_STATUSES = frozenset({400, 401, 403})
_GONE_STATUSES = frozenset({404, 410})
_UNAUTHORIZED = 401

Response = TypeVar("Response")


class PartTarget(msgspec.Struct, frozen=True):
    """The URL for one part."""

    number: int
    url: str


class UploadTargets(msgspec.Struct, frozen=True):
    """The service's response: some or all of the parts that are missing, of `part_size` bytes."""

    upload_id: str
    part_size: int
    parts: list[PartTarget]


class StoredObject(msgspec.Struct, frozen=True):
    """What the service found in storage."""

    size: int
    checksum: str


@dataclass(frozen=True)
class MultipartUpload:
    """The upload of one file."""

    path: Path
    target: RemoteUpload
    client: httpx.Client
    retries: RetryBudget
    size: int
    checksum: str
    signing_clock: SigningClock = field(default_factory=lambda: SigningClock(time.time))

    def upload_parts(self) -> Generator[float, None, None]:
        """Send all missing parts and have the service verify them; yields the fraction sent."""
        targets = self._request(UploadTargets)
        tries: Counter[int] = Counter()
        while targets.parts:
            for part in targets.parts:
                tries[part.number] += 1
                if tries[part.number] > MAX_TRIES:  # accepted each time, but still missing
                    raise ExportError(_CODE, _MESSAGE, transient=True)
                if not self._put(part, targets.part_size):
                    break  # the URL has expired: request new ones below
                yield min(1.0, part.number * targets.part_size / self.size)
            targets = self._request(UploadTargets, upload_id=targets.upload_id)
        stored = self._request(StoredObject, upload_id=targets.upload_id, complete=True)
        if (stored.size, stored.checksum) != (self.size, self.checksum):
            raise ExportError(_CODE, _MESSAGE, transient=True)

    def _put(self, part: PartTarget, part_size: int) -> bool:
        """Send one part, from its beginning at every try; return False if its URL is rejected."""
        start = (part.number - 1) * part_size
        length = min(part_size, self.size - start)
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in _read_chunks(self.path, start, length):
            md5.update(chunk)
        headers = {
            "Content-Length": str(length),
            "Content-MD5": base64.b64encode(md5.digest()).decode(),
        }
        while True:
            try:
                body = _read_chunks(self.path, start, length)
                response = self.client.put(part.url, content=body, headers=headers)
                raise_for_retryable(response)
            except (RetryableError, httpx.HTTPError) as failure:
                self.retries.wait(failure)
                continue
            if response.is_success:
                self.retries.reset()
                return True
            if response.status_code not in _REJECTED_STATUSES:
                raise ExportError(_CODE, _MESSAGE, transient=True)
            self.retries.wait(RetryableError())
            return False

    def _request(self, response_type: type[Response], **fields: object) -> Response:
        """POST a request to the service.

        Raises Stopped if the attempt is over.
        """
        request = {"attempt": self.target.attempt, "size": self.size, "checksum": self.checksum} | fields
        body = msgspec.json.encode(request)
        while True:
            try:
                response = self.client.post(self.target.url, content=body, headers=self._sign(body))
                self._check_time(response)
                raise_for_retryable(response)
            except (RetryableError, httpx.HTTPError) as failure:
                self.retries.wait(failure)
                continue
            if response.status_code in _GONE_STATUSES:
                raise Stopped(f"upload: {response.status_code}")
            if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
                raise ExportError("output_too_large", _TOO_LARGE)
            if not response.is_success:
                raise ExportError(_CODE, _MESSAGE, transient=True)
            return _decode_response(response.content, response_type)

    def _check_time(self, response: httpx.Response) -> None:
        """Raise RetryableError if the signature's time was rejected, after correcting the clock.

        The next request is signed with the service's time.
        """
        if response.status_code == _UNAUTHORIZED and self.signing_clock.correct(response.headers):
            raise RetryableError

    def _sign(self, body: bytes) -> dict[str, str]:
        key = base64.b64decode(self.target.key)
        timestamp = int(self.signing_clock.time())
        headers = signature_headers(key, f"upload_{uuid.uuid4().hex}", timestamp, body)
        return headers | {"content-type": "application/json"}


def upload_file(
    path: Path,
    target: RemoteUpload,
    *,
    deadline_seconds: float = MAX_TRANSFER_SECONDS,
    clock: Clock | None = None,
) -> Generator[float, None, str]:
    """Upload a file, yielding the fraction done; return its checksum `sha256:<hex>`.

    It returns after the service has verified the object in storage. Raises ExportError: output_unwritable;
    `callbacks.reporter.Stopped` if the attempt is over.
    """
    clock = clock or Clock()
    retries = RetryBudget(_CODE, _MESSAGE, clock.monotonic() + deadline_seconds, clock)
    with map_errors(_CODE, _MESSAGE, transient=True), create_http_client() as client:
        size, digest, read = path.stat().st_size, hashlib.sha256(), 0
        for chunk in _read_chunks(path, 0, size):
            digest.update(chunk)
            read += len(chunk)
            yield _HASHING_SHARE * read / size
        checksum = f"sha256:{digest.hexdigest()}"
        for fraction in MultipartUpload(path, target, client, retries, size, checksum).upload_parts():
            yield _HASHING_SHARE + (1 - _HASHING_SHARE) * fraction
    return checksum


def _decode_response(content: bytes, response_type: type[Response]) -> Response:
    try:
        return msgspec.json.decode(content, type=response_type)
    except msgspec.MsgspecError:
        raise ExportError(_CODE, _MESSAGE, transient=True) from None


def _read_chunks(path: Path, start: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
