"""What the service expects of a database, whichever it is: sessions, batches, and the words that differ."""

import json
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar, get_type_hints

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")

CHANGE_LOG: Final = "changed"
"""Key in a session's `info`: the rows that the transaction has changed, for the other replicas."""
DIALECT: Final = "dialect"
"""Key in a session's `info`: the dialect of its database."""
POOL_SECONDS: Final = 10.0
"""How long to wait for a free connection; each is in use for milliseconds."""
CLOSE_SECONDS: Final = 3.0

ChangedRow = tuple[str, str]
"""The id of a changed row, and the id of the user who owns it."""
BeforeCommit = Callable[[AsyncSession], Awaitable[None]]
"""The last statements of every transaction; the composition root sets them."""
Row = Any
"""A row of a result: its columns by position and by name."""

_COLUMN_TYPES: Final[dict[object, str]] = {
    str: "text",
    str | None: "text",
    int: "int",
    int | None: "int",
    float: "float8",
    float | None: "float8",
}


async def no_op_hook(_session: AsyncSession) -> None:
    """Add nothing to a transaction."""


@dataclass(frozen=True)
class StagedTable:
    """Rows that a batch hands to its statements as a table of this name; a column for each field of the struct.

    The first field is never None.
    """

    name: str
    row_type: type[msgspec.Struct]

    @cached_property
    def columns(self) -> dict[str, str]:
        """The columns, with their types as PostgreSQL names them."""
        hints = get_type_hints(self.row_type)
        return {name: _COLUMN_TYPES[hints[name]] for name in self.row_type.__struct_fields__}


class StagedRows(Protocol):
    """Rows that were staged, for as long as the batch lasts."""

    async def fetch(self, statement: str) -> Sequence[Row]:
        """Run a statement that reads the rows by the name of their table."""
        ...


class BatchConnection(Protocol):
    """The driver's connection within a batch. Statements have `:names` for both drivers.

    `changed_rows` is what the commit announces to the other replicas.
    """

    changed_rows: list[ChangedRow]

    async def fetch(self, statement: str, values: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run a statement and return its rows."""
        ...

    async def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement for each set of values."""
        ...

    async def stage(self, table: StagedTable, rows: Sequence[msgspec.Struct]) -> StagedRows:
        """Hand over rows for the statements that follow; they replace the rows staged for the table before."""
        ...


class Dialect(Hashable, Protocol):
    """The SQL that the databases spell differently."""

    row_lock: str
    """The clause that locks the rows of a SELECT until the transaction ends; empty where only one can write."""

    async def lock(self, session: AsyncSession, key: str) -> None:
        """Wait until no other transaction has locked the key; the lock lasts until this transaction ends."""
        ...

    def json_rows(self, parameter: str) -> str:
        """Return the table whose column `value` has the strings of a parameter that is a JSON array."""
        ...

    def json_array(self, expression: str) -> str:
        """Return the aggregate that makes a JSON array of an expression; `strings_of` reads it."""
        ...


class ChangeFeed(Protocol):
    """Announcements of what other replicas have committed."""

    async def listen(
        self,
        on_ready: Callable[[], Awaitable[None]],
        on_changes: Callable[[Sequence[ChangedRow]], Awaitable[None]],
    ) -> None:
        """Call `on_changes` with what other replicas change; return or raise when the connection is lost.

        `on_ready` is awaited first, once the connection listens: it reads what was changed before.
        """
        ...


class Database(Protocol):
    """A database: `reading` and `transaction` for SQLAlchemy; the others for SQL that goes to the driver itself."""

    url: str
    before_commit: BeforeCommit

    @property
    def dialect(self) -> Dialect:
        """How this database spells what others spell differently."""
        ...

    @property
    def change_feed(self) -> ChangeFeed | None:
        """What other replicas commit; None where a single process owns the database."""
        ...

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session on a consistent snapshot; its changes are discarded."""
        ...

    def transaction(self, *, is_short: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session that commits all of its changes at the end of the block, or none of them.

        In a short one each statement takes a millisecond or two at most: SQLite runs them in the event loop, which
        costs half of what a thread costs.

        The commit announces the rows in `session.info[CHANGE_LOG]` to the other replicas.
        """
        ...

    async def batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        """Run `work` as one transaction and return its result; it may run again after a deadlock.

        `work` awaits nothing but its connection: other writers wait until it ends.
        """
        ...

    async def reclaim(self, tables: Sequence[str]) -> bool:
        """Remove what deleted rows of these tables have left in the files; False if it has to be tried again.

        A database may not be able to remove all of it; each says what stays.
        """
        ...

    async def update(
        self, table: StagedTable, rows: Sequence[msgspec.Struct], statement: str
    ) -> Sequence[Sequence[Any]]:
        """Run one statement on staged rows, as a transaction of its own, and return what it returns.

        The first two columns are a `ChangedRow`, which the commit announces.
        """
        ...

    async def fetch(self, statement: str, values: Mapping[str, object]) -> Sequence[Row]:
        """Read what is committed, on the driver itself."""
        ...

    async def check(self) -> None:
        """Raise if the database does not answer."""
        ...

    async def close(self) -> None:
        """Finish the statements that still run, and close all connections."""
        ...


def dialect_of(session: AsyncSession) -> Dialect:
    """Return the dialect of the session's database."""
    dialect: Dialect = session.info[DIALECT]
    return dialect


def to_json_array(strings: Iterable[str]) -> str:
    """Return strings as the parameter that `Dialect.json_rows` reads."""
    return json.dumps(list(strings))


def strings_of(array: Any) -> tuple[str, ...]:
    """Return the strings of a `Dialect.json_array`: text, a decoded list, or None where there was no row."""
    return tuple(json.loads(array) if isinstance(array, str) else array or ())
