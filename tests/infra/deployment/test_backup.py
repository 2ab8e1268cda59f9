"""The documented command for a backup can be typed as it is written, the first time and again."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from infra.database.sqlite import sqlite_url
from service import schema

DEPLOY = Path(__file__).parents[3] / "service" / "docs" / "deploy.md"


def read_command() -> str:
    """Return the first command of the section."""
    section = DEPLOY.read_text("utf-8").split("\n## Backup and restore\n")[1]
    return section.split("```sh\n")[1].split("\n")[0]


def test_a_backup_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    schema.upgrade(sqlite_url(tmp_path / "var" / "framehook.db"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATA_DIR": "var",
    }
    for count in (1, 2):
        subprocess.run(["sh", "-ec", read_command()], cwd=tmp_path, env=environment, check=True)
        backups = list(tmp_path.glob("backup-*.db"))
        assert len(backups) == count
    for backup in backups:
        with sqlite3.connect(backup) as database:
            assert database.execute("SELECT count(*) FROM export_jobs").fetchone() == (0,)
        database.close()
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
