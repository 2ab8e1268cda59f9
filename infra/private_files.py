"""Files and folders that their owner alone may read and write, whatever the umask of the process is."""

import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private_folder(path: Path) -> None:
    """Create a folder, and those above it that are missing; one that is there stays as it is."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def open_private(path: str, flags: int) -> int:
    """Open a file for the built-in `open`, and create it for its owner alone: `open(…, opener=open_private)`."""
    return os.open(path, flags, FILE_MODE)


def touch_private(path: Path) -> None:
    """Create an empty file unless there is a file."""
    open(path, "ab", opener=open_private).close()


def write_private(path: Path, text: str) -> None:
    """Write a new file, or replace one, at once: whoever reads it finds one text or the other."""
    part = path.with_name(f"{path.name}.new")
    part.unlink(missing_ok=True)
    with open(part, "x", opener=open_private, encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
