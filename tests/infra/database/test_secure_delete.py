"""SQLite only: what was deleted or replaced is in no file once it is reclaimed."""

from pathlib import Path

import pytest
from sqlalchemy import text

from infra.database.sqlite import SqliteDatabase, sqlite_url

pytestmark = pytest.mark.anyio
SECRET = "the name of a film that was deleted"


def find_secret(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if SECRET.encode() in path.read_bytes()]


async def test_a_deleted_text_is_in_no_file(tmp_path: Path) -> None:
    database = SqliteDatabase(sqlite_url(tmp_path / "n.db"))
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE films (id INTEGER PRIMARY KEY, name TEXT)"))
        await session.execute(text("CREATE INDEX by_name ON films (name)"))
        rows = [{"id": number, "name": f"{number} {SECRET} " * 40} for number in range(200)]
        await session.execute(text("INSERT INTO films VALUES (:id, :name)"), rows)
    assert find_secret(tmp_path) != []
    async with database.transaction() as session:
        await session.execute(text("UPDATE films SET name = 'short' WHERE id % 2 = 0"))
        await session.execute(text("DELETE FROM films WHERE id % 2 = 1"))
    assert await database.reclaim(["films"])
    assert find_secret(tmp_path) == []
    await database.close()


async def test_a_reader_keeps_the_log_and_the_next_try_empties_it(tmp_path: Path) -> None:
    database = SqliteDatabase(sqlite_url(tmp_path / "n.db"))
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE films (name TEXT)"))
        await session.execute(text("INSERT INTO films VALUES (:name)"), {"name": SECRET})
    async with database.reading() as session:
        await session.execute(text("SELECT count(*) FROM films"))
        async with database.transaction() as writing:
            await writing.execute(text("DELETE FROM films"))
        assert not await database.reclaim(["films"])
    assert await database.reclaim(["films"])
    assert find_secret(tmp_path) == []
    await database.close()
