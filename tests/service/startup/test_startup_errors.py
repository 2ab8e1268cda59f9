"""Errors at the start are one sentence and an exit status, without traceback or secret."""

import asyncio
import json
import resource
import socket
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from infra.database.sqlite import sqlite_url
from infra.lock import hold_lock
from infra.storage import FolderStorage
from service import schema
from service.app import create_app
from service.http_server.listening import open_sockets
from service.http_server.server import create_server
from service.settings import Settings, load_settings
from service.startup.errors import StartError, as_start_errors, prepare_data_dir
from tests.support.service_process import clean_environment

CONFIGURATION, TRY_AGAIN = 78, 75
SECRET = "hunter2"


def settings_of(folder: Path, **changes: object) -> Settings:
    return load_settings(data_dir=folder, host="127.0.0.1", _env_file="", **changes)


async def start_and_stop(settings: Settings) -> None:
    with as_start_errors(settings):
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            pass


async def start_error(settings: Settings) -> StartError:
    """Start the service and return the error."""
    with pytest.raises(StartError) as ended:
        await start_and_stop(settings)
    assert SECRET not in str(ended.value)
    return ended.value


@asynccontextmanager
async def rejecting_server(sqlstate: str) -> AsyncIterator[str]:
    """Run a server that rejects every client with a PostgreSQL error; yield its URL."""

    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        fields = f"SFATAL\0VFATAL\0C{sqlstate}\0Mpassword {SECRET}\0\0".encode()
        writer.write(b"E" + struct.pack("!I", 4 + len(fields)) + fields)
        writer.close()

    server = await asyncio.start_server(reject, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://framehook:{SECRET}@127.0.0.1:{port}/framehook?sslmode=disable"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("sqlstate", "message", "status"),
    [
        ("28P01", "rejects this user or password", CONFIGURATION),
        ("28000", "rejects this user or password", CONFIGURATION),
        ("3D000", "the database does not exist", CONFIGURATION),
        ("42501", "lacks a privilege", CONFIGURATION),
        ("53300", "has too many connections", TRY_AGAIN),
        ("57P03", "can't be reached", TRY_AGAIN),
        ("XX000", "the server reports an error", TRY_AGAIN),
    ],
)
async def test_an_error_of_the_database_is_reported_with_its_reason(
    tmp_path: Path, sqlstate: str, message: str, status: int
) -> None:
    async with rejecting_server(sqlstate) as url:
        error = await start_error(settings_of(tmp_path, database_url=url))
    assert str(error).startswith("DATABASE_URL: ")
    assert message in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    ("place", "message", "status"),
    [
        ("127.0.0.1:1/x", "can't be reached", TRY_AGAIN),
        ("nosuch.invalid/x", "can't be resolved", TRY_AGAIN),
        ("127.0.0.1:port/x", "can't connect with this URL", CONFIGURATION),
        ("127.0.0.1/x?sslmode=perhaps", "can't connect with this URL", CONFIGURATION),
    ],
)
async def test_an_unreachable_database_is_reported(
    tmp_path: Path, place: str, message: str, status: int
) -> None:
    error = await start_error(settings_of(tmp_path, database_url=f"postgresql://u:{SECRET}@{place}"))
    assert message in str(error)
    assert error.status == status


async def test_an_older_schema_and_a_newer_one_are_distinguished(postgresql_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(postgresql_url)
    await connection.execute("CREATE DATABASE of_other_releases")
    url = postgresql_url.replace("/postgres?", "/of_other_releases?")
    try:
        for revision, message in [("", "db upgrade"), ("0001", "db upgrade"), ("9999", "a newer release")]:
            if revision == "0001":
                await asyncio.to_thread(schema.upgrade, url, revision)
            elif revision:
                other = await asyncpg.connect(url)
                await other.execute("UPDATE alembic_version SET version_num = $1", revision)
                await other.close()
            error = await start_error(settings_of(tmp_path, database_url=url))
            assert message in str(error)
            assert error.status == CONFIGURATION
    finally:
        await connection.execute("DROP DATABASE of_other_releases")
        await connection.close()


@pytest.mark.parametrize(
    ("role", "said"),
    [("stranger", "make the user its owner"), ("postgres", "the tables are not those of this schema")],
)
async def test_an_upgrade_that_the_database_refuses_is_reported(
    postgresql_url: str, tmp_path: Path, role: str, said: str
) -> None:
    connection = await asyncpg.connect(postgresql_url)
    await connection.execute("CREATE DATABASE of_strangers")
    await connection.execute("CREATE ROLE stranger LOGIN")
    url = postgresql_url.replace("/postgres?", "/of_strangers?")
    database = await asyncpg.connect(url)
    await database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE export_jobs (id text)")
    await database.close()
    try:
        with pytest.raises(StartError) as ended, as_start_errors(settings_of(tmp_path, database_url=url)):
            await asyncio.to_thread(schema.upgrade, url.replace("//postgres:", f"//{role}:"))
    finally:
        await connection.execute("DROP DATABASE of_strangers")
        await connection.execute("DROP ROLE stranger")
        await connection.close()
    assert (said in str(ended.value), ended.value.status) == (True, CONFIGURATION)


async def test_an_upgrade_does_not_wait_for_a_long_transaction_while_the_service_waits_for_it(
    postgresql_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(postgresql_url)
    await connection.execute("CREATE DATABASE with_a_backup")
    url = postgresql_url.replace("/postgres?", "/with_a_backup?")
    try:
        await asyncio.to_thread(schema.upgrade, url, "0001")
        backup = await asyncpg.connect(url)
        transaction = backup.transaction()
        await transaction.start()
        await backup.execute("LOCK TABLE export_jobs IN ACCESS SHARE MODE")
        with pytest.raises(StartError) as ended, as_start_errors(settings_of(tmp_path, database_url=url)):
            await asyncio.to_thread(schema.upgrade, f"{url}&lock_timeout=50")
        await transaction.rollback()
        assert await backup.fetchval("SELECT version_num FROM alembic_version") == "0001"
        await backup.close()
    finally:
        await connection.execute("DROP DATABASE with_a_backup WITH (FORCE)")
        await connection.close()
    assert ("keep tables locked" in str(ended.value), ended.value.status) == (True, TRY_AGAIN)


async def test_a_server_without_the_tls_that_the_url_asks_for_is_reported(tmp_path: Path) -> None:
    async def refuse_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(b"N")
        writer.close()

    async with await asyncio.start_server(refuse_tls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://framehook:{SECRET}@127.0.0.1:{port}/framehook?sslmode=require"
        error = await start_error(settings_of(tmp_path, database_url=url))
    assert ("the server has no TLS" in str(error), error.status) == (True, CONFIGURATION)


async def test_an_unusable_sqlite_file_is_reported(data_dir: Path) -> None:
    with sqlite3.connect(data_dir / "framehook.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "a newer release" in str(await start_error(settings_of(data_dir)))
    (data_dir / "framehook.db").write_bytes(b"no database at all" * 100)
    assert "is not a SQLite database" in str(await start_error(settings_of(data_dir)))


def test_the_server_keeps_the_cause_of_a_failed_start(tmp_path: Path) -> None:
    (tmp_path / "framehook.db").write_bytes(b"no database at all" * 100)
    settings = settings_of(tmp_path)
    server = create_server(create_app(settings), "127.0.0.1", 0)
    with pytest.raises(StartError, match="is not a SQLite database"), as_start_errors(settings):
        server.run()


def test_a_disk_without_room_for_the_index_of_the_log_is_full(data_dir: Path) -> None:
    with sqlite3.connect(data_dir / "framehook.db") as database:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))  # files can't grow, as on a full disk
    try:
        with pytest.raises(StartError) as ended, as_start_errors(settings_of(data_dir)):
            schema.upgrade(sqlite_url(data_dir / "framehook.db"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ("the disk is full" in str(ended.value), ended.value.status) == (True, TRY_AGAIN)


def test_an_upgrade_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "framehook.db").mkdir()
    settings = settings_of(tmp_path)
    with (
        pytest.raises(StartError, match=r"DATA_DIR: .*framehook\.db is a folder") as ended,
        as_start_errors(settings),
    ):
        schema.upgrade(sqlite_url(tmp_path / "framehook.db"))
    assert ended.value.status == CONFIGURATION


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nothing"])
def test_an_impossible_data_folder_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=f"DATA_DIR: .*{name}.*; use a") as ended:
        prepare_data_dir(tmp_path / name)
    assert ended.value.status == CONFIGURATION


def test_files_on_another_disk_than_uploads_are_reported(data_dir: Path) -> None:
    shared_memory = Path("/dev/shm")  # noqa: S108 - a folder on another file system
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == data_dir.stat().st_dev:
        pytest.skip("no second file system")
    with TemporaryDirectory(dir=shared_memory) as other:
        (data_dir / "objects").symlink_to(other)
        with (
            pytest.raises(StartError, match=f"; mount the disk as {data_dir}") as ended,
            as_start_errors(settings_of(data_dir)),
        ):
            FolderStorage(data_dir)
        assert list(Path(other).iterdir()) == list((data_dir / "incoming").iterdir()) == []
    assert ended.value.status == CONFIGURATION


@pytest.mark.parametrize("kept", [b"", b"x" * 31], ids=["empty", "cut off"])
async def test_an_invalid_secret_file_is_reported(data_dir: Path, kept: bytes) -> None:
    (data_dir / "callback_secret").write_bytes(kept)
    error = await start_error(settings_of(data_dir))
    assert (error.status, "callback_secret" in str(error)) == (CONFIGURATION, True)
    assert (data_dir / "callback_secret").read_bytes() == kept


def test_a_data_folder_in_use_is_reported(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    lock = tmp_path / "service.lock"
    with (
        hold_lock(lock),
        pytest.raises(StartError, match="another service is using") as ended,
        as_start_errors(settings),
        hold_lock(lock),
    ):
        pass
    assert ended.value.status == TRY_AGAIN


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"PORT: {port} is used") as ended:
            open_sockets("127.0.0.1", port)
    assert ended.value.status == TRY_AGAIN


@pytest.mark.parametrize("host", ["192.0.2.1", "nosuch.invalid"])
def test_a_host_of_another_machine_is_reported(host: str) -> None:
    with pytest.raises(StartError, match="HOST: ") as ended:
        open_sockets(host, 18_471)
    assert ended.value.status == CONFIGURATION


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_service_listens_on_all_addresses_of_a_name(host: str) -> None:
    sockets = open_sockets(host, 0)
    assert {listener.getsockname()[0] for listener in sockets} <= {"127.0.0.1", "::1"}
    for listener in sockets:
        listener.close()


def test_serve_exits_with_the_sentence_and_the_status(tmp_path: Path) -> None:
    url = f"postgresql://u:{SECRET}@127.0.0.1:1/x"
    settings = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path / "var"), "LOG_FORMAT": "json"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings["PORT"] = str(listener.getsockname()[1])
    ended = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "serve"],
        env=clean_environment(**settings),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == TRY_AGAIN
    assert lines[-1]["message"].startswith("DATABASE_URL: the database can't be reached")
    assert not any("exception" in line for line in lines)
    assert SECRET not in ended.stderr
