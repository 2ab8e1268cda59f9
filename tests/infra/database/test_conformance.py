"""What the service relies on, on each database: `infra.database.base.Database`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from infra.database.base import (
    CHANGE_LOG,
    BatchConnection,
    ChangedRow,
    Database,
    StagedTable,
    dialect_of,
    no_op_hook,
    strings_of,
    to_json_array,
)
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from tests.support.cancellation import MAX_SUSPENSIONS, cancel_everywhere

CONNECTIONS = 20
"""More than either pool has."""
INSERT = "INSERT INTO numbers VALUES (:number) RETURNING number"
NEGATE = """
UPDATE numbers SET number = -numbers.number FROM measurements WHERE numbers.number = measurements.count
RETURNING CAST(numbers.number AS TEXT), 'ann', numbers.number
"""
ONCE_TWICE_ALWAYS = pytest.mark.parametrize("times", [1, 2, MAX_SUSPENSIONS], ids=["once", "twice", "always"])


class Measurement(msgspec.Struct, frozen=True):
    name: str
    count: int
    seconds: float
    left_seconds: float | None


MEASUREMENTS = StagedTable("measurements", Measurement)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = sqlite_url(tmp_path / "n.db") if is_sqlite else request.getfixturevalue("postgresql_url")
    database = open_database(url)
    async with database.transaction() as session:
        await session.execute(text("DROP TABLE IF EXISTS numbers"))
        await session.execute(text("CREATE TABLE numbers (number INTEGER)"))
    yield database
    database.before_commit = no_op_hook
    async with database.transaction() as session:
        await session.execute(text("DROP TABLE numbers"))
    await database.close()


async def list_numbers(database: Database) -> list[int]:
    async with database.reading() as session:
        await session.execute(text("SELECT count(*) FROM numbers"))
        return list(await session.scalars(text("SELECT number FROM numbers ORDER BY number")))


async def insert_pair(
    database: Database, first: int = 1, method: str = "execute", *, is_short: bool = False
) -> None:
    async with database.transaction(is_short=is_short) as session:
        for number in (first, first + 1):
            await getattr(session, method)(text(INSERT), {"number": number})


insert_short_pair = partial(insert_pair, is_short=True)


async def insert_pair_in_batch(database: Database) -> None:
    async def insert(connection: BatchConnection) -> None:
        for number in (1, 2):
            await connection.fetch(INSERT, {"number": number})

    await database.batch(insert)


async def check_all_connections(database: Database) -> None:
    """Read on all connections at the same time, and write."""
    all_read = asyncio.Barrier(8)

    async def read() -> None:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
            await all_read.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(read())
        group.create_task(insert_pair(database))


async def fail_in_transaction(database: Database, *, is_short: bool = False) -> None:
    async with database.transaction(is_short=is_short) as session:
        await session.execute(text(INSERT), {"number": 1})
        raise RuntimeError


async def fail_in_batch(database: Database) -> None:
    async def insert(connection: BatchConnection) -> None:
        await connection.execute_many("INSERT INTO numbers VALUES (:number)", [{"number": 1}])
        raise RuntimeError

    await database.batch(insert)


@ONCE_TWICE_ALWAYS
@pytest.mark.parametrize(
    "work",
    [list_numbers, insert_pair, insert_short_pair, insert_pair_in_batch],
    ids=["a read", "a transaction", "a short transaction", "a batch"],
)
async def test_work_that_is_cancelled_at_any_await_returns_its_connection_and_is_whole(
    database: Database, work: Callable[[Database], Awaitable[object]], times: int
) -> None:
    for _ in range(CONNECTIONS):
        await cancel_everywhere(lambda: work(database), times)
    await check_all_connections(database)
    numbers = await list_numbers(database)
    assert numbers.count(1) == numbers.count(2), "half of a transaction was committed"


@pytest.mark.parametrize("is_short", [False, True], ids=["", "short"])
@pytest.mark.parametrize("method", ["execute", "scalar", "scalars"])
async def test_a_writer_that_is_cancelled_after_any_number_of_turns_does_not_block_the_next(
    database: Database, method: str, is_short: bool
) -> None:
    tasks: list[asyncio.Task[None]] = []  # a shutdown keeps its tasks too, and all that their frames refer to
    for turns in range(60):
        tasks.append(asyncio.create_task(insert_pair(database, turns * 10, method, is_short=is_short)))
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[-1].cancel()
        with suppress(asyncio.CancelledError):
            await tasks[-1]
        async with asyncio.timeout(5):
            await insert_pair(database, turns * 10 + 5)
    numbers = await list_numbers(database)
    assert [number for number in numbers if number % 10 == 5] == [turns * 10 + 5 for turns in range(60)]
    assert [number + 1 for number in numbers if number % 10 == 0] == [
        number for number in numbers if number % 10 == 1
    ]


async def test_closing_waits_for_what_a_cancelled_caller_left(database: Database) -> None:
    tasks = asyncio.all_tasks()
    await cancel_everywhere(lambda: insert_pair(database), MAX_SUSPENSIONS)
    await database.close()
    assert asyncio.all_tasks() <= tasks


@pytest.mark.parametrize(
    "fail",
    [fail_in_transaction, partial(fail_in_transaction, is_short=True), fail_in_batch],
    ids=["a transaction", "a short transaction", "a batch"],
)
async def test_work_that_raises_leaves_nothing_and_the_next_work_succeeds(
    database: Database, fail: Callable[[Database], Awaitable[None]]
) -> None:
    with pytest.raises(RuntimeError):
        await fail(database)
    assert await list_numbers(database) == []
    await insert_pair_in_batch(database)
    await insert_pair(database, 3)
    assert await list_numbers(database) == [1, 2, 3, 4]


async def test_reading_changes_nothing(database: Database) -> None:
    async with database.reading() as session:
        await session.execute(text("INSERT INTO numbers VALUES (1)"))
    assert await list_numbers(database) == []


async def test_concurrent_writers_all_commit(database: Database) -> None:
    writers = (insert_pair(database, number * 10, is_short=number % 2 == 0) for number in range(30))
    await asyncio.gather(*writers, *(insert_pair_in_batch(database) for _ in range(10)))
    assert len(await list_numbers(database)) == 80


async def test_a_short_transaction_waits_for_the_lock_of_another_process_without_blocking_the_loop(
    tmp_path: Path,
) -> None:
    database = open_database(sqlite_url(tmp_path / "n.db"))
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE numbers (number INTEGER)"))
    other = sqlite3.connect(tmp_path / "n.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = asyncio.create_task(insert_short_pair(database))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not writer.done()
    other.execute("ROLLBACK")
    await writer
    assert await list_numbers(database) == [1, 2]
    other.close()
    await database.close()


async def test_a_short_transaction_that_fails_in_a_statement_can_be_followed_by_another(
    database: Database,
) -> None:
    with pytest.raises(DBAPIError):
        async with database.transaction(is_short=True) as session:
            await session.execute(text("INSERT INTO nowhere VALUES (1)"))
    await insert_short_pair(database)
    assert await list_numbers(database) == [1, 2]


async def test_the_hook_before_the_commit_is_part_of_the_transaction(database: Database) -> None:
    async def insert_and_fail(session: object) -> None:
        await session.execute(text(INSERT), {"number": 9})  # type: ignore[attr-defined]
        raise RuntimeError

    database.before_commit = insert_and_fail
    with pytest.raises(RuntimeError):
        await insert_pair(database)
    assert await list_numbers(database) == []


async def test_transactions_that_lock_one_key_run_one_after_the_other(database: Database) -> None:
    steps: list[str] = []

    async def count(name: str) -> None:
        async with database.transaction() as session:
            await dialect_of(session).lock(session, "a key")
            steps.append(name)
            await asyncio.sleep(0.02)
            steps.append(name)

    await asyncio.gather(*(count(name) for name in "abcd"))
    assert steps[::2] == steps[1::2]


async def test_staged_rows_are_a_table_of_their_batch(database: Database) -> None:
    rows = [Measurement("a", 1, 0.1, None), Measurement("b", 2, 1e300, 2.5), Measurement("ü'\"\\", 3, 0, 0)]

    async def read(connection: BatchConnection) -> list[Sequence[object]]:
        await connection.stage(MEASUREMENTS, [Measurement("earlier", 0, 0, 0)])
        staged = await connection.stage(MEASUREMENTS, rows)
        return [
            tuple(row)
            for row in await staged.fetch(
                "SELECT name, count, seconds, left_seconds FROM measurements ORDER BY count"
            )
        ]

    assert await database.batch(read) == [msgspec.structs.astuple(row) for row in rows]


async def test_one_statement_on_staged_rows_is_a_transaction_of_its_own(database: Database) -> None:
    await insert_pair(database)
    rows = [Measurement("", count, 0, None) for count in (1, 2, 7)]
    changed = await database.update(MEASUREMENTS, rows, NEGATE)
    assert sorted(map(tuple, changed)) == [("-1", "ann", -1), ("-2", "ann", -2)]
    stored = await database.fetch("SELECT number FROM numbers WHERE number < :zero", {"zero": 0})
    assert {row["number"] for row in stored} == {-1, -2}
    assert list(await database.update(MEASUREMENTS, rows, NEGATE)) == []


async def test_a_change_feed_announces_any_number_of_rows_of_one_statement(database: Database) -> None:
    if database.change_feed is None:
        return
    other = open_database(database.url)
    announced: asyncio.Queue[ChangedRow] = asyncio.Queue()
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    async def on_changes(rows: Sequence[ChangedRow]) -> None:
        for row in rows:
            announced.put_nowait(row)

    async def insert(connection: BatchConnection) -> None:
        await connection.execute_many(INSERT, [{"number": number} for number in range(1, 1_001)])

    await database.batch(insert)
    listening = asyncio.create_task(database.change_feed.listen(on_ready, on_changes))
    async with asyncio.timeout(20):
        await ready.wait()
        await database.update(MEASUREMENTS, [Measurement("", 1, 0, None)], NEGATE)  # one's own
        await other.update(MEASUREMENTS, [Measurement("", n, 0, None) for n in range(2, 1_001)], NEGATE)
        heard = {await announced.get() for _ in range(999)}
    assert heard == {(f"-{n}", "ann") for n in range(2, 1_001)}
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await other.close()


async def test_rows_are_read_by_position_and_by_name(database: Database) -> None:
    async def read(connection: BatchConnection) -> tuple[object, object, object]:
        row = (await connection.fetch("SELECT 1 AS first, :second AS second", {"second": "2"}))[0]
        return row[0], row["second"], dict(row)

    assert await database.batch(read) == (1, "2", {"first": 1, "second": "2"})


async def test_json_arrays_go_in_and_come_out(database: Database) -> None:
    names = ["a", "", "ü'\"\\", "a"]
    async with database.reading() as session:
        dialect = dialect_of(session)
        statement = f"SELECT {dialect.json_array('value')} FROM {dialect.json_rows(':names')} AS names"  # noqa: S608
        array = (await session.execute(text(statement), {"names": to_json_array(names)})).scalar_one()
    assert strings_of(array) == tuple(names)
    assert strings_of(None) == ()


async def test_a_change_feed_announces_the_commits_of_others_and_no_failures(database: Database) -> None:
    if database.change_feed is None:
        return
    other = open_database(database.url)
    announced: asyncio.Queue[ChangedRow] = asyncio.Queue()
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    async def on_changes(rows: Sequence[ChangedRow]) -> None:
        for row in rows:
            announced.put_nowait(row)

    async def change(connection: BatchConnection) -> None:
        connection.changed_rows.append(("job-2", "ann"))

    listening = asyncio.create_task(database.change_feed.listen(on_ready, on_changes))
    async with asyncio.timeout(20):
        await ready.wait()
        await database.batch(change)  # one's own changes are not announced
        with suppress(RuntimeError):
            async with other.transaction() as session:
                session.info[CHANGE_LOG] = [("lost", "ann")]
                raise RuntimeError
        async with other.transaction() as session:
            session.info[CHANGE_LOG] = [("job-1", "ann")]
        await other.batch(change)
        assert [await announced.get() for _ in range(2)] == [("job-1", "ann"), ("job-2", "ann")]
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await other.close()


async def test_check_raises_nothing_while_the_database_answers(database: Database) -> None:
    await database.check()


@ONCE_TWICE_ALWAYS
async def test_a_connection_that_is_being_opened_is_not_lost_by_a_cancellation(
    sqlite_url: str, times: int
) -> None:
    for _ in range(3):
        database = open_database(sqlite_url)

        async def read(database: Database = database) -> None:
            async with database.reading() as session:
                await session.execute(text("SELECT 1"))

        await cancel_everywhere(read, times)
        await read()
        await database.close()


async def test_deleted_rows_are_reclaimed(database: Database) -> None:
    await insert_pair(database)
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM numbers WHERE number = 1"))
    assert await database.reclaim(["numbers"])
    assert await list_numbers(database) == [2]
