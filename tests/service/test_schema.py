"""Migrations lead to the schema of the models and back.

A `Job` has the fields of its row.
"""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from infra.database.sqlite import sqlite_url
from service import schema


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, SQLModel.metadata))


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_the_newest_schema_matches_the_models(empty_database: Path) -> None:
    engine = create_engine(f"sqlite:///{empty_database}", poolclass=pool.NullPool)
    with engine.connect() as connection:
        assert differences(connection) == []


async def test_the_newest_schema_matches_the_models_on_postgresql(postgresql_url: str) -> None:
    url = postgresql_url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


def test_a_downgrade_leaves_nothing_and_can_be_reversed(tmp_path: Path) -> None:
    path = tmp_path / "framehook.db"
    schema.upgrade(sqlite_url(path))
    whole = tables(path)
    schema.downgrade(sqlite_url(path), "base")
    assert tables(path) == {"alembic_version"}
    schema.upgrade(sqlite_url(path))
    assert tables(path) == whole


def test_an_upgrade_of_a_current_schema_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "framehook.db"
    schema.upgrade(sqlite_url(path))
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO idempotency_keys (user_id, key, body_hash, job_id, created_at) VALUES ('a', 'b', 'c', 'd', 1)"
    )
    connection.commit()
    schema.upgrade(sqlite_url(path))
    assert connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (1,)
    connection.close()


async def test_replicas_can_upgrade_at_the_same_time(postgresql_url: str) -> None:
    database = create_async_engine(
        postgresql_url.replace("postgresql://", "postgresql+asyncpg://"), isolation_level="AUTOCOMMIT"
    )
    async with database.connect() as connection:
        await connection.execute(text("CREATE DATABASE fresh"))
    await database.dispose()
    fresh = postgresql_url.replace("/postgres?", "/fresh?")
    assert (await schema.read_schema(fresh)).age is schema.SchemaAge.EMPTY
    code = "import sys; from service import schema; schema.upgrade(sys.argv[1])"
    replicas = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, fresh) for _ in range(3)]
    async with asyncio.timeout(60):
        assert [await replica.wait() for replica in replicas] == [0, 0, 0]
    assert (await schema.read_schema(fresh)).age is schema.SchemaAge.CURRENT


@pytest.mark.parametrize("name", ["a space", "quest?ion", "per%41cent", "ha#sh", "ümlaut"])
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    schema.upgrade(sqlite_url(folder / "framehook.db"))
    assert "export_jobs" in tables(folder / "framehook.db")


@pytest.mark.parametrize("pages", [6, 60])
def test_an_upgrade_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    path = tmp_path / "framehook.db"

    def connect_on_full_disk(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    connect = sqlite3.connect
    with monkeypatch.context() as limited:
        limited.setattr("sqlite3.dbapi2.connect", connect_on_full_disk)
        with pytest.raises(OperationalError, match="full"):
            schema.upgrade(sqlite_url(path))
    assert tables(path) == set()
    schema.upgrade(sqlite_url(path))
    assert "export_jobs" in tables(path)


def test_a_file_can_be_upgraded_twice_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "framehook.db"
    command = [sys.executable, "-c", "import sys; from service import schema; schema.upgrade(sys.argv[1])"]
    upgrades = [subprocess.Popen([*command, sqlite_url(path)]) for _ in range(2)]
    assert [upgrade.wait() for upgrade in upgrades] == [0, 0]
