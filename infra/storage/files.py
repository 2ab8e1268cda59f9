"""Atomic operations on the files of a folder storage: move, publish, compare, make durable."""

import errno
import filecmp
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from infra.private_files import make_private_folder
from infra.storage.base import CHUNK_BYTES, UserFiles
from infra.storage.errors import ObjectExists, PathConflict

Result = TypeVar("Result")
FOLDER_TRIES = 3


def check_one_disk(source: Path, target: Path) -> None:
    """Raise OSError (EXDEV) unless files can be moved from one folder to the other, as between two mounts."""
    probe, moved = (folder / f"{uuid.uuid4().hex}.probe" for folder in (source, target))
    try:
        probe.touch()
        probe.rename(moved)
    except OSError as error:
        if error.errno != errno.EXDEV:
            return  # the next write there says what is wrong
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(target)) from None
    finally:
        for path in (probe, moved):
            path.unlink(missing_ok=True)


def move_file(source: Path, target: Path) -> None:
    """Move a file, replacing what is there, and create the folders above it."""
    _retry_in_folder(target.parent, lambda: source.replace(target))
    _sync_folder(target.parent)


def move_to_new(source: Path, target: Path) -> None:
    """Move a file without replacing another one.

    Raises ObjectExists unless the existing file has the same content.
    """
    try:
        if _retry_in_folder(target.parent, lambda: _link(source, target)) == source:
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


def erase_file(incoming: Path, path: Path, home: Path) -> None:
    """Delete a file under each of its names, and the folders below `home` that it leaves empty."""
    _remove_held_names(incoming, path)
    with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        path.unlink()
    for folder in path.parents:
        if folder == home or not _is_removed(folder):
            break


def erase_folder(incoming: Path, folder: Path) -> None:
    """Delete a folder, and each file in it under each of its names; raises OSError for what can't be deleted."""
    for path in folder.rglob("*"):
        _remove_held_names(incoming, path)
    with suppress(FileNotFoundError, NotADirectoryError):
        shutil.rmtree(folder)


def measure_folder(folder: Path) -> UserFiles:
    """Count the files in a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return UserFiles(len(sizes), sum(sizes))


def compute_checksum(path: Path) -> str:
    """Return the checksum of a file as `sha256:<hex>`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _remove_held_names(incoming: Path, path: Path) -> None:
    """Remove the second names that a process left which died while it published this file."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if not path.is_file() or path.stat().st_nlink == 1:
            return
        for name in incoming.glob("*.held"):
            with suppress(FileNotFoundError):
                if name.samefile(path):
                    name.unlink()


def _is_removed(folder: Path) -> bool:
    """Remove a folder if it is empty, and return whether it is gone."""
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def _retry_in_folder(folder: Path, move: Callable[[], Result]) -> Result:
    """Move a file into a folder, which an erasure may remove right after it was created."""
    for _ in range(FOLDER_TRIES - 1):
        make_private_folder(folder)
        try:
            return move()
        except FileNotFoundError:
            continue
    make_private_folder(folder)
    return move()


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
