"""Folder only: an erasure leaves no second name of a file, and no empty folder."""

import os
from pathlib import Path

import pytest

from infra.storage import FolderStorage

pytestmark = pytest.mark.anyio
PUBLISHED = "films/of/the/year/best.mp4"


def put(folder: Path, key: str) -> Path:
    path = folder / "objects" / "ann" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")
    return path


async def test_the_name_that_a_killed_publisher_left_goes_with_the_file(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    output, attempt = put(tmp_path, PUBLISHED), put(tmp_path, ".attempts/1-1/output.mp4")
    os.link(output, tmp_path / "incoming" / "a.held")
    os.link(attempt, tmp_path / "incoming" / "b.held")
    (tmp_path / "incoming" / "c.held").write_bytes(b"of another")
    await storage.erase("ann", PUBLISHED)
    await storage.delete_folder("ann", ".attempts/1-1")
    assert [path.name for path in (tmp_path / "incoming").glob("*.held")] == ["c.held"]


async def test_folders_that_are_empty_go_and_others_stay(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    put(tmp_path, PUBLISHED)
    put(tmp_path, "films/of/worst.mp4")
    await storage.erase("ann", PUBLISHED)
    home = tmp_path / "objects" / "ann"
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*")) == [
        "films",
        "films/of",
        "films/of/worst.mp4",
    ]
    await storage.erase("ann", "films/of/worst.mp4")
    assert list(home.iterdir()) == []
