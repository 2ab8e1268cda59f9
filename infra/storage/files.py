"""Atomic operations on the files of a folder storage: move, publish, compare, make durable."""

import errno
import filecmp
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from infra.private_files import make_private_folder
from infra.storage.base import CHUNK_BYTES
from infra.storage.errors import ObjectExists, PathConflict


def move_file(source: Path, target: Path) -> None:
    """Move a file, replacing what is there, and create the folders above it."""
    make_private_folder(target.parent)
    source.replace(target)
    _sync_folder(target.parent)


def move_to_new(source: Path, target: Path) -> None:
    """Move a file without replacing another one.

    Raises ObjectExists unless the existing file has the same content.
    """
    make_private_folder(target.parent)
    try:
        if _link(source, target) == source:
            _rename_to_new(source, target)
    except FileExistsError:
        if target.is_dir() or not filecmp.cmp(source, target, shallow=False):
            raise ObjectExists from None
    _sync_folder(target.parent)


def publish_file(
    incoming: Path, source: Path, target: Path, size: int, checksum: str, is_cancelled: Callable[[], bool]
) -> bool:
    """Move a file if it has this size and checksum; return whether the target has them.

    A second name is checked and moved, because a run may replace the source between the two.
    """
    name = incoming / f"{uuid.uuid4().hex}.held"
    try:
        held = _link(source, name)
        if not _has_content(held, size, checksum) or is_cancelled():
            return False
        move_file(held, target)
        source.unlink(missing_ok=True)
    except FileNotFoundError:  # published before, or just now by a concurrent request
        return has_content(target, size, checksum)
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        raise PathConflict from None
    finally:
        name.unlink(missing_ok=True)
    return True


def has_content(path: Path, size: int, checksum: str) -> bool:
    """Return whether the file exists and has this size in bytes and checksum."""
    try:
        return _has_content(path, size, checksum)
    except FileNotFoundError:
        return False


def compute_checksum(path: Path) -> str:
    """Return the checksum of a file as `sha256:<hex>`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _has_content(path: Path, size: int, checksum: str) -> bool:
    return path.stat().st_size == size and compute_checksum(path) == checksum


def _link(source: Path, name: Path) -> Path:
    """Link a file under a new name and return it; the old one if links are unsupported."""
    try:
        os.link(source, name)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return source
    return name


def _rename_to_new(source: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError
    source.replace(target)


def _sync_folder(path: Path) -> None:
    """Make renames in a folder survive a power failure."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
