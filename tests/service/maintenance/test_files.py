"""`framehook db check` finds rows without files and files without rows, and mends them with `--fix`."""

import asyncio
import json
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from infra.storage.inventory import BucketInventory, FolderInventory, Inventory
from service.cli.main import app
from service.jobs import uploads
from service.jobs.models import JOBS, Status
from service.jobs.uploads import Upload
from service.maintenance.files import YOUNG_SECONDS, FileCheck
from service.maintenance.integrity import check_integrity
from service.startup.findings import Level
from tests.infra.storage.storage_cases import StorageCase, open_storage
from tests.service.maintenance.stored_jobs import make_job, store
from tests.support.s3_server import S3Server

JOB, LOST, GONE, STRAY = (f"0192f000-0000-7000-8000-00000000000{number}" for number in range(4))
LATER = YOUNG_SECONDS + 60.0


def upload_of(key: str, *, stored: bool = True, user_id: str = "ada") -> Upload:
    return Upload(
        user_id=user_id,
        key=key,
        size=3,
        created_at=1.0,
        expires_at=2.0,
        stored_at=3.0 if stored else None,
    )


def folder() -> str:
    return f"uploads/{secrets.token_hex(16)}"


@pytest.fixture(params=["folder", "s3"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, shared_s3_server: S3Server
) -> AsyncIterator[StorageCase]:
    async with open_storage(request.param, tmp_path / "var", shared_s3_server) as case:
        yield case


@pytest.fixture
def inventory(case: StorageCase, tmp_path: Path) -> Inventory:
    bucket = getattr(case, "bucket", None)
    return FolderInventory(tmp_path / "var") if bucket is None else BucketInventory(bucket)


def check_later(database: Database, inventory: Inventory) -> FileCheck:
    """Return a check for which all files are old."""
    return FileCheck(database, inventory, lambda: time.time() + LATER)


async def test_what_differs_is_found_and_mended(
    any_database: Database, case: StorageCase, inventory: Inventory
) -> None:
    there, missing, announced, adopted = (f"{folder()}/a.mp4" for _ in range(4))
    await store(
        any_database,
        make_job(JOB),
        make_job(LOST),
        make_job(GONE, status=Status.ERROR),
        make_job("running", status=Status.PROCESSING, output_size=None),
        upload_of(there),
        upload_of(missing),
        upload_of(announced, stored=False),
    )
    kept = (f"exports/{JOB}.mp4", there, ".attempts/running-1/output.mp4", "mine/holiday.mp4")
    stray = (f"exports/{STRAY}.mp4", f".attempts/{GONE}-2/output.mp4")
    for key in (*kept, *stray, adopted):
        await case.put("ada", key, b"abc")

    check = check_later(any_database, inventory)
    mismatches = {mismatch.sentence.split(" (")[0]: mismatch for mismatch in await check.compare()}
    assert set(mismatches) == {
        f"the file of export {LOST} is missing",
        f"the file of upload {missing} is missing",
        *(f"ada/{key}" for key in (*stray, adopted)),
    }
    for mismatch in mismatches.values():
        assert mismatch.mend is not None
        await mismatch.mend()

    assert {item.key for item in await inventory.list_objects()} == {*kept, adopted}
    async with any_database.reading() as session:
        rows = {
            upload.key: upload for upload in await uploads.list_page(session, "ada", before=None, limit=9)
        }
        due = list(await session.execute(select(JOBS.c.job_id).where(JOBS.c.expires_at.is_not(None))))
    assert set(rows) == {there, announced, adopted}
    assert (rows[adopted].size, rows[adopted].stored_at is not None) == (3, True)
    assert [job_id for (job_id,) in due] == [LOST]  # the service lets it expire, and says so
    assert await check.compare() == []  # the export is due, so that its file need not be there


async def test_what_is_young_is_left_alone(
    database: Database, case: StorageCase, inventory: Inventory
) -> None:
    await case.put("ada", f"exports/{STRAY}.mp4", b"abc")
    assert await FileCheck(database, inventory, time.time).compare() == []
    assert len(await check_later(database, inventory).compare()) == 1


async def test_a_file_of_another_size_is_named_and_not_mended(
    database: Database, case: StorageCase, inventory: Inventory
) -> None:
    await store(database, make_job(JOB, size=4))
    await case.put("ada", f"exports/{JOB}.mp4", b"abc")
    [mismatch] = await check_later(database, inventory).compare()
    assert mismatch.sentence == f"the file of export {JOB} has 3 bytes instead of 4"
    assert mismatch.mend is None


async def test_every_row_of_a_database_can_be_read(any_database: Database) -> None:
    await store(any_database, make_job(JOB))
    findings = await check_integrity(any_database.url)
    assert [finding.level for finding in findings] == [Level.OK, Level.OK]


async def store_once(data_dir: Path, upload: Upload) -> None:
    database = open_database(sqlite_url(data_dir / "framehook.db"))
    await store(database, upload)
    await database.close()


def run_check(*words: str, data_dir: Path, answer: str | None = None) -> Result:
    environment = {"DATABASE_URL": "", "R2_BUCKET_NAME": "", "DATA_DIR": str(data_dir)}
    result = CliRunner().invoke(app, ["db", "check", *words], env=environment, input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_command_says_what_it_would_do_and_does_it(data_dir: Path) -> None:
    assert run_check(data_dir=data_dir).exit_code == 0
    key = f"{folder()}/a.mp4"
    asyncio.run(store_once(data_dir, upload_of(key)))

    result = run_check(data_dir=data_dir)
    said = f"the file of upload {key} is missing; --fix deletes its row"
    assert (result.exit_code, said in result.stdout) == (1, True)
    assert run_check("--fix", data_dir=data_dir, answer="n\n").exit_code == 1
    [*_, finding] = json.loads(run_check("--json", data_dir=data_dir).stdout)
    assert (finding["check"], finding["level"]) == ("files", "fail")

    mended = run_check("--fix", data_dir=data_dir, answer="y\n")
    assert (mended.exit_code, said in mended.stdout, "mended 1" in mended.stdout) == (0, True, True)
    assert run_check(data_dir=data_dir).exit_code == 0


def test_a_damaged_database_is_reported(data_dir: Path) -> None:
    path = data_dir / "framehook.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("CREATE TABLE lonely (id INTEGER PRIMARY KEY, name TEXT)")
        database.execute("CREATE INDEX names ON lonely (name)")
        database.execute("INSERT INTO lonely (name) VALUES ('a'), ('b')")
        root = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'names'").fetchone()[0]
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(os.urandom(size))
    result = run_check(data_dir=data_dir)
    assert (result.exit_code, "restore a backup" in result.stdout) == (1, True)
    assert "Traceback" not in result.output
