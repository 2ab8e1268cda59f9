"""A database whose disk is full: a clear answer and log, and no restart once there is room."""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from infra.database.base import Database
from service.settings import Settings
from service.startup.outage import QUIET_SECONDS, OutageLogFilter
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem

LARGE = {f"key-{number}": "x" * 500 for number in range(16)}


async def limit_pages(database: Database, count: int | None) -> None:
    """Let the file grow by so many pages at most; None sets no limit."""
    async with database.transaction() as session:
        pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()
        limit = 2**31 if count is None else pages + count
        await session.execute(text(f"PRAGMA max_page_count = {limit}"))


async def test_changes_are_refused_in_a_sentence_until_there_is_room(
    settings: Settings,
) -> None:
    async with open_app(settings, FakeRunner()) as app:
        kept = await app.submit_export()
        await limit_pages(app.database, 4)
        refused = await submit_until_full(app)
        assert "disk of the service's database is full" in assert_problem(refused, 503)["detail"]
        assert (await app.client.get(f"/api/exports/{kept['job_id']}")).status_code == 200
        await limit_pages(app.database, None)
        assert (await app.client.post("/api/exports", json=app.export_body())).status_code == 202


async def submit_until_full(app: AppHarness) -> httpx.Response:
    """Submit exports until one is refused, and return the response."""
    while (answer := await app.client.post("/api/exports", json=app.export_body(metadata=LARGE))).is_success:
        pass
    return answer


def lock_error(path: Path) -> OperationalError:
    """Return what a write raises while another program keeps the file locked."""
    with sqlite3.connect(path) as other, sqlite3.connect(path, timeout=0) as connection:
        other.execute("CREATE TABLE rows (content)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as locked:
            connection.execute("INSERT INTO rows VALUES (1)")
    other.close()
    connection.close()
    return OperationalError("INSERT", {}, locked.value)


def full_error(path: Path) -> OperationalError:
    """Return what a write to a full database raises."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rows (content)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.execute("INSERT INTO rows VALUES (zeroblob(100000))")
    connection.close()
    return OperationalError("INSERT", {}, full.value)


@pytest.mark.parametrize(
    ("make_error", "sentence"),
    [
        (full_error, "the disk of the database is full; requests are answered 503 until there is room"),
        (lock_error, "the database is unreachable; requests are answered 503 until it is back"),
    ],
)
async def test_the_log_names_an_outage_of_writes_once_although_the_database_can_be_read(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    make_error: Callable[[Path], OperationalError],
    sentence: str,
) -> None:
    async def check() -> None:
        """Read, which works."""

    outage = OutageLogFilter(check)
    error = make_error(tmp_path / "full.db")
    for _ in range(3):
        record = logging.makeLogRecord({"msg": "a write failed", "cause": error})
        assert not outage.filter(record)
        await outage.check_end(time.monotonic())
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(sentence)
    await outage.check_end(time.monotonic() + QUIET_SECONDS)
    assert caplog.records[-1].getMessage().startswith("the database is back after 0 s; 3 errors")
