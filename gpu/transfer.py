"""How bytes come to an attempt and leave it: sources checked in place, the output shown only when it is whole."""

import hashlib
import os
from collections.abc import Generator, Mapping
from pathlib import Path

from gpu.errors import ExportError, failing_as
from gpu.spec import LocalFile, RemoteObject

_CHUNK_BYTES = 4 * 1024 * 1024


def fetch(key: str, sources: Mapping[str, LocalFile | RemoteObject]) -> str:
    """Where a source can be opened. Raises ExportError: source_missing, source_unreadable."""
    source = sources.get(key)
    if not isinstance(source, LocalFile):
        raise ExportError("source_missing", "The export's source does not exist.")
    path = Path(source.path)
    if not path.is_file():
        raise ExportError("source_missing", "The export's source does not exist.")
    if path.stat().st_size == 0:
        raise ExportError("source_unreadable", "The source is empty; it may not have been uploaded.")
    return source.path


def publish(made: Path, target: LocalFile) -> Generator[float, None, str]:
    """Put a finished file in its place, all at once; yields the share done, returns its checksum `sha256:<hex>`.

    What is written stands beside the target as `<path>.part` until it is durable. Raises ExportError: disk_full,
    output_unwritable.
    """
    path = Path(target.path)
    part = path.with_name(f"{path.name}.part")
    digest = hashlib.sha256()
    with failing_as("output_unwritable", "The export could not be stored.", transient=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield from _copied(made, part, digest)
            part.replace(path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return f"sha256:{digest.hexdigest()}"


def _copied(made: Path, part: Path, digest: "hashlib._Hash") -> Generator[float, None, None]:
    size, copied = made.stat().st_size, 0
    with made.open("rb") as source, part.open("wb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            copied += len(chunk)
            yield copied / size
        target.flush()
        os.fsync(target.fileno())


def _sync(folder: Path) -> None:
    """Make a rename in the folder last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
