"""How bytes come to an attempt and leave it: sources checked in place, the output shown only when it is whole.

A source is a file on this machine or an object read by range; an output goes into a file or, in parts, to storage.
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
    """Where a source can be opened; `scratch` is for objects that can only be read whole.

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
            return _on_this_machine(Path(source.path))


def store_output(
    made: Path, target: LocalFile | RemoteUpload, *, deadline_seconds: float = MAX_TRANSFER_SECONDS
) -> Generator[float, None, str]:
    """Put a finished file in its place, all at once; yields the share done, returns its checksum `sha256:<hex>`.

    Raises ExportError: disk_full, output_unwritable; `callbacks.reporter.Stopped` when the attempt is over.
    """
    if isinstance(target, RemoteUpload):
        from gpu.transfer.multipart import upload_file

        return (yield from upload_file(made, target, deadline_seconds=deadline_seconds))
    return (yield from _placed(made, Path(target.path)))


def delete_output(target: LocalFile | RemoteUpload) -> None:
    """Remove what was published, and what is left of publishing; of a remote output the service takes care."""
    if isinstance(target, RemoteUpload):
        return
    path = Path(target.path)
    for written in (path, _part(path)):
        with suppress(OSError):
            written.unlink(missing_ok=True)


def _on_this_machine(path: Path) -> str:
    if not path.is_file():
        raise ExportError("source_missing", "The export's source does not exist.")
    if path.stat().st_size == 0:
        raise ExportError("source_unreadable", "The source is empty; it may not have been uploaded.")
    return str(path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _placed(made: Path, path: Path) -> Generator[float, None, str]:
    """What is written stands beside the target as `<path>.part` until it is durable."""
    part = _part(path)
    digest = hashlib.sha256()
    with map_errors("output_unwritable", "The export could not be stored.", transient=True):
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
