"""The documented backup commands for SQLite work as they stand, the first time and again."""

import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "service" / "docs" / "deploy.md"


VACUUM, CLI = "VACUUM INTO", ".backup"


def backup_commands(kind: str) -> str:
    """Return the commands of one of the two documented ways."""
    section = DEPLOY.read_text("utf-8").split("\n## Backup and restore\n")[1]
    block = section.split("```sh\n")[1].split("pg_dump")[0]
    umask, first, *rest = block.split("\n")
    return "\n".join([umask, *{CLI: [first], VACUUM: rest}[kind]])


@pytest.mark.parametrize("kind", [VACUUM, CLI])
def test_a_backup_can_be_repeated(kind: str, tmp_path: Path) -> None:
    if kind == CLI and shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    (tmp_path / "var").mkdir()
    with sqlite3.connect(tmp_path / "var" / "framehook.db") as database:
        database.execute("CREATE TABLE jobs (id INTEGER)")
    script = backup_commands(kind).replace("python -c", f"{sys.executable} -c")
    for count in range(1, 4):
        with sqlite3.connect(tmp_path / "var" / "framehook.db") as database:
            database.execute("INSERT INTO jobs VALUES (1)")
        subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
        with sqlite3.connect(tmp_path / "framehook-backup.db") as backup:
            assert backup.execute("SELECT count(*) FROM jobs").fetchone() == (count,)
        assert stat.S_IMODE((tmp_path / "framehook-backup.db").stat().st_mode) == 0o600
    database.close()
    backup.close()
