"""Files and folders that only their owner may read and write, independent of the process's umask."""

import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private_folder(path: Path) -> None:
    """Create a folder and its missing parents; an existing folder is left unchanged."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def open_private(path: str, flags: int) -> int:
    """Open a file, or create it for its owner alone; for `open(…, opener=open_private)`."""
    return os.open(path, flags, FILE_MODE)


def touch_private(path: Path) -> None:
    """Create an empty file unless the file exists."""
    open(path, "ab", opener=open_private).close()


def write_private(path: Path, text: str) -> None:
    """Write or replace a file atomically: a reader gets the old text or the new one."""
    part = path.with_name(f"{path.name}.new")
    part.unlink(missing_ok=True)
    with open(part, "x", opener=open_private, encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
