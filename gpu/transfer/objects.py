"""Open an attempt's sources and store its output.

The output becomes visible only when it is complete. A source is a file on this machine or an object read by range; an
output goes into a file or, in parts, to storage.
"""

import hashlib
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gpu.errors import ExportError, map_errors
from gpu.spec import LocalFile, RemoteObject, RemoteUpload
from gpu.transfer.http_client import MAX_TRANSFER_SECONDS

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

_CHUNK_BYTES = 4 * 1024 * 1024


def open_source(
    key: str,
    sources: Mapping[str, LocalFile | RemoteObject],
    scratch: Path | None = None,
    *,
    deadline_seconds: float = MAX_TRANSFER_SECONDS,
) -> "SourceLocation":
    """Return where a source can be opened.

    `scratch` is for objects that can only be downloaded.

    Raises ExportError: source_missing, source_unreadable, and what RangeSource raises.
    """
    source = sources.get(key)
    match source:
        case None:
            raise ExportError("source_missing", "The export's source does not exist.")
        case RemoteObject(url=url):
            from gpu.transfer.range_reader import locate_source

            folder = scratch or Path(tempfile.gettempdir())
            return locate_source(url, folder, deadline_seconds=deadline_seconds)
        case LocalFile():
            return _local_path(Path(source.path))


def store_output(
    output: Path, target: LocalFile | RemoteUpload, *, deadline_seconds: float = MAX_TRANSFER_SECONDS
) -> Generator[float, None, str]:
    """Store a file atomically, yielding the fraction done; return its checksum `sha256:<hex>`.

    Raises ExportError: disk_full, output_unwritable; `callbacks.reporter.Stopped` when the attempt is over.
    """
    if isinstance(target, RemoteUpload):
        from gpu.transfer.multipart import upload_file

        return (yield from upload_file(output, target, deadline_seconds=deadline_seconds))
    return (yield from _write_atomically(output, Path(target.path)))


def delete_output(target: LocalFile | RemoteUpload) -> None:
    """Delete a stored output and any partial one; the service itself deletes remote outputs."""
    if isinstance(target, RemoteUpload):
        return
    path = Path(target.path)
    for written in (path, _part_path(path)):
        with suppress(OSError):
            written.unlink(missing_ok=True)


def _local_path(path: Path) -> str:
    if not path.is_file():
        raise ExportError("source_missing", "The export's source does not exist.")
    if path.stat().st_size == 0:
        raise ExportError("source_unreadable", "The source is empty; it may not have been uploaded.")
    return str(path)


def _part_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _write_atomically(output: Path, path: Path) -> Generator[float, None, str]:
    """Write to `<path>.part`, and rename it when it is durable."""
    part = _part_path(path)
    digest = hashlib.sha256()
    with map_errors("output_unwritable", "The export could not be stored.", transient=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield from _copy_bytes(output, part, digest)
            part.replace(path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return f"sha256:{digest.hexdigest()}"


def _copy_bytes(output: Path, part: Path, digest: "hashlib._Hash") -> Generator[float, None, None]:
    size, copied_bytes = output.stat().st_size, 0
    with output.open("rb") as source, part.open("wb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            copied_bytes += len(chunk)
            yield copied_bytes / size
        target.flush()
        os.fsync(target.fileno())


def _sync(folder: Path) -> None:
    """Make a rename in the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
