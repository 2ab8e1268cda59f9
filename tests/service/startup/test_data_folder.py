"""The data folder is accessible to its owner only, and a folder of others is left alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from framehook.transfers.resume_state import ResumeState
from service import schema
from service.settings import BadSettings
from service.startup.data_folder import make_private, make_rest_private, restrict_to_owner, secure_data_folder
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on

pytestmark = pytest.mark.anyio


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def create_accessible(path: Path, content: str = "x") -> Path:
    """Create a file with the modes that earlier versions used."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


async def test_files_of_earlier_versions_are_made_private_before_the_service_starts(data_dir: Path) -> None:
    video = create_accessible(data_dir / "objects" / "local" / "exports" / "1.mp4")
    for path, left in ((data_dir, 0o755), (data_dir / "framehook.db", 0o644)):
        os.chmod(path, left)  # noqa: PTH101 - Path.chmod is flagged in coroutines
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()):
        modes = {path.name: mode(path) for path in (data_dir, video.parent, video, data_dir / "framehook.db")}
        assert modes == {"var": 0o700, "exports": 0o700, "1.mp4": 0o600, "framehook.db": 0o600}
        assert mode(data_dir / "framehook.db-wal") == 0o600


async def test_a_database_elsewhere_is_private_and_its_folder_is_not_touched(
    tmp_path: Path, data_dir: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    path = create_accessible(elsewhere / "f.db", "")
    settings = settings_on(free_port(), data_dir, database_url=f"sqlite+aiosqlite:///{path}")
    async with serve_app(settings, FakeRunner()):
        assert (mode(elsewhere), mode(path), mode(elsewhere / "f.db-wal")) == (0o755, 0o600, 0o600)


def test_a_new_database_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        schema.upgrade(f"sqlite+aiosqlite:///{tmp_path}/new.db")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new.db") == 0o600


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = create_accessible(tmp_path / "outside" / "a.mp4")
    inside = tmp_path / "var" / "objects"
    inside.mkdir(parents=True)
    (inside / "file.mp4").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    list(restrict_to_owner([inside]))
    assert (mode(outside), mode(outside.parent)) == (0o644, 0o755)


def test_an_existing_folder_is_made_private_and_a_log_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o775)
    secure_data_folder(folder)
    secure_data_folder(folder)
    assert mode(folder) == 0o700
    (line,) = caplog.messages
    assert line == f"DATA_DIR: {folder} was open to other users (mode 775); their access was removed"


@pytest.mark.parametrize("kind", ["sticky", "in use"])
def test_a_folder_that_others_use_is_rejected_and_left_unchanged(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    if kind == "in use":
        (folder / "website").mkdir()
    folder.chmod(0o1777 if kind == "sticky" else 0o755)
    before = mode(folder)
    with pytest.raises(BadSettings, match=r"DATA_DIR: .* open to other users .*framehook"):
        secure_data_folder(folder)
    assert mode(folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_rejected_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12_345, 12_345)
    words = (sys.executable, "-m", "service.cli.main", "serve", "--data-dir", str(folder))
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (78, 1)
    assert result.stderr.startswith(
        f"framehook: DATA_DIR: {folder} belongs to another user (id 12345); use a"
    )


async def test_a_start_checks_a_limited_number_of_files_and_the_rest_later(tmp_path: Path) -> None:
    files = [create_accessible(tmp_path / "objects" / f"{number}.mp4") for number in range(30)]
    left = await make_private([tmp_path / "objects"], at_start=10)
    assert sum(mode(file) == 0o600 for file in files) == 9
    await make_rest_private(left)
    assert {mode(file) for file in files} == {0o600}


def test_the_resume_state_of_a_client_is_private(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"video")
    resume_folder = tmp_path / "state" / "framehook" / "uploads"
    create_accessible(resume_folder / "left.part")
    before = os.umask(0)
    try:
        ResumeState(resume_folder).save_upload("http://127.0.0.1:8000", film, "a token")
    finally:
        os.umask(before)
    (state_file,) = resume_folder.glob("*.json")
    assert (mode(resume_folder), mode(state_file)) == (0o700, 0o600)
