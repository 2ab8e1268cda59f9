"""`python -m tests.bench.large_files.bucket_server PORT`: moto's S3, made fit for gigabytes.

moto reads an object whole for each range and joins parts in memory, several times over, which no real store
does. Here only the range is read, and parts are joined in a file.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterable, Iterator

from moto.s3.models import FakeKey, FakeMultipart
from moto.server import main as moto_server

CHUNK_BYTES = 2**20
SPOOLED_BYTES = 16 * 2**20
LARGE_BYTES = 600 * 2**20  # below, moto copies an object in one piece and wants its bytes


class SlicedBytes:
    """An object's bytes, read when they are sliced."""

    def __init__(self, key: FakeKey) -> None:
        self._key = key

    def __len__(self) -> int:
        return int(self._key.contentsize)

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(len(self))
        with self._key.lock:
            self._key._value_buffer.seek(start)
            value: bytes = self._key._value_buffer.read(stop - start)
            return value

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), CHUNK_BYTES):
            yield self[start : start + CHUNK_BYTES]


class JoinedParts:
    """The parts of an object, joined in a file; moto frees them before it reads the result."""

    def __init__(self, parts: list[FakeKey]) -> None:
        self.file = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - the object keeps it
        for part in parts:
            self.file.write(part.value)

    def __len__(self) -> int:
        return self.file.tell()


def _value(key: FakeKey) -> "bytes | SlicedBytes":
    whole = SlicedBytes(key)
    return whole if len(whole) > LARGE_BYTES else whole[0 : len(whole)]


def _keep(key: FakeKey, value: "bytes | JoinedParts") -> None:
    key.contentsize = len(value)
    if isinstance(value, JoinedParts):
        key._value_buffer = value.file
        return
    key._value_buffer.seek(0)
    key._value_buffer.truncate()
    key._value_buffer.write(value)


def _complete(upload: FakeMultipart, listed: Iterable[tuple[int, str]]) -> tuple[JoinedParts, str, None]:
    parts = [upload.parts[number] for number, _ in listed]
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    return JoinedParts(parts), f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}", None


def main() -> None:
    """Serve on loopback until SIGTERM."""
    tempfile.tempdir = sys.argv[2] if len(sys.argv) > 2 else None
    FakeKey.value = property(_value, _keep)  # type: ignore[assignment,method-assign]
    FakeMultipart.complete = _complete  # type: ignore[assignment,method-assign]
    moto_server(["--host", "127.0.0.1", "--port", sys.argv[1]])


if __name__ == "__main__":
    main()
