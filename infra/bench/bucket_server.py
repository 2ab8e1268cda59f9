"""`python -m infra.bench.bucket_server PORT`: moto's S3, made fit for objects of some gigabytes.

moto reads an object whole for each range that is asked of it, which no store does: here it reads the range alone.
"""

import sys
import tempfile
from collections.abc import Iterator

from moto.s3.models import FakeKey
from moto.server import main as moto_server

CHUNK_BYTES = 2**20
LARGE_BYTES = 600 * 2**20  # below, moto copies an object in one piece and wants its bytes


class Sliced:
    """An object's bytes, read where they are looked at."""

    def __init__(self, key: FakeKey) -> None:
        self._key = key

    def __len__(self) -> int:
        return int(self._key.contentsize)

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(len(self))
        with self._key.lock:
            self._key._value_buffer.seek(start)  # noqa: SLF001 - moto offers no other way to a part of it
            found: bytes = self._key._value_buffer.read(stop - start)  # noqa: SLF001
            return found

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), CHUNK_BYTES):
            yield self[start : start + CHUNK_BYTES]


def _value(key: FakeKey) -> "bytes | Sliced":
    whole = Sliced(key)
    return whole if len(whole) > LARGE_BYTES else whole[0 : len(whole)]


def main() -> None:
    """Serve on loopback until told to stop."""
    tempfile.tempdir = sys.argv[2] if len(sys.argv) > 2 else None  # noqa: PLR2004 - where objects lie
    FakeKey.value = property(_value, vars(FakeKey)["value"].fset)  # type: ignore[assignment,method-assign]
    moto_server(["--host", "127.0.0.1", "--port", sys.argv[1]])


if __name__ == "__main__":
    main()
