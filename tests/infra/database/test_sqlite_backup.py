"""A copy of a SQLite database is of one moment, complete or not there, and replaces another as a whole."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from infra.database import sqlite_backup
from infra.database.sqlite_backup import DamagedDatabase


def create_accounts(path: Path, *, count: int = 100) -> None:
    """Create a table whose sum is always 0, in a database with a log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER, filler TEXT)")
        rows = [(0, "x" * 2_000) for _ in range(count)]
        connection.executemany("INSERT INTO accounts (amount, filler) VALUES (?, ?)", rows)
        connection.commit()


def read_sum(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT count(*), sum(amount) FROM accounts").fetchone()
    return int(row[0]), int(row[1])


def test_a_copy_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    source = tmp_path / "live.db"
    create_accounts(source)
    has_stopped, transfers = threading.Event(), 0

    def transfer_without_pause() -> None:
        nonlocal transfers
        with closing(sqlite3.connect(source, timeout=10)) as connection:
            while not has_stopped.is_set():
                first, second = transfers % 100 + 1, (transfers * 7 + 3) % 100 + 1
                connection.execute("UPDATE accounts SET amount = amount - 1 WHERE id = ?", (first,))
                connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = ?", (second,))
                connection.commit()
                transfers += 1

    writer = threading.Thread(target=transfer_without_pause)
    writer.start()
    try:
        for number in range(10):
            before = transfers
            sqlite_backup.copy_database(source, tmp_path / f"{number}.db")
            assert read_sum(tmp_path / f"{number}.db") == (100, 0)
            while transfers == before:
                assert writer.is_alive()
    finally:
        has_stopped.set()
        writer.join()


def test_a_copy_is_one_private_file_and_replaces_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "live.db", tmp_path / "copy.db"
    create_accounts(source, count=3)
    sqlite_backup.copy_database(source, target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    content = target.read_bytes()
    with pytest.raises(FileExistsError):
        sqlite_backup.copy_database(source, target)
    assert target.read_bytes() == content
    assert not list(tmp_path.glob(".*.part"))


def test_a_damaged_database_gives_no_copy(tmp_path: Path) -> None:
    source = tmp_path / "live.db"
    create_accounts(source, count=300)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with source.open("r+b") as file:
        file.seek(3 * 4_096)
        file.write(b"\xff" * 4_096)
    with pytest.raises((DamagedDatabase, sqlite3.DatabaseError)):
        sqlite_backup.copy_database(source, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
    assert sqlite_backup.list_damage(source) != []


def test_an_old_log_is_not_applied_to_what_replaces_a_database(tmp_path: Path) -> None:
    backup, target = tmp_path / "backup.db", tmp_path / "live.db"
    create_accounts(backup, count=2)
    create_accounts(target, count=5)
    connection = sqlite3.connect(target)
    connection.execute("UPDATE accounts SET amount = 7")
    connection.commit()
    log = target.with_name("live.db-wal").read_bytes()
    connection.close()
    target.with_name("live.db-wal").write_bytes(log)  # as after a crash
    sqlite_backup.replace_database(backup, target)
    assert read_sum(target) == (2, 0)
