"""Alembic's environment for both databases: a whole upgrade is one transaction."""

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection, TextClause, create_engine, event, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from infra.database.postgresql import asyncpg_dsn, is_postgresql

LOCK_MIGRATIONS = text("SELECT pg_advisory_xact_lock(7205759403792)")
LIMIT_WAITING = text(
    "SELECT set_config('lock_timeout', '5s', true) WHERE current_setting('lock_timeout') = '0'"
)
"""A change of a table waits for all transactions that use it, such as a backup, and all later ones wait for it."""
SQLITE_LOCK_SECONDS = 60.0
"""How long an upgrade of a file waits for another one."""


def migrate(connection: Connection, *first: TextClause) -> None:
    """Migrate the connection's database in one transaction, which begins with the statements of `first`."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        transactional_ddl=True,  # SQLite has it, too, but Alembic does not expect it
    )
    with context.begin_transaction():
        for statement in first:
            connection.execute(statement)
        context.run_migrations()


def migrate_sqlite(url: str) -> None:
    """Migrate over the synchronous driver.

    By itself the driver begins no transaction before it changes tables: an upgrade that was interrupted would leave
    tables of which the version knows nothing.
    """
    engine = create_engine(
        make_url(url).set(drivername="sqlite"),
        poolclass=pool.NullPool,
        connect_args={"isolation_level": None, "timeout": SQLITE_LOCK_SECONDS},
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


async def migrate_postgresql(url: str) -> None:
    """Migrate over asyncpg, which reads the whole URL itself, with parameters such as `sslmode`."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(asyncpg_dsn(url), timeout=10),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        # Two upgrades at the same time must not both create the tables.
        await connection.run_sync(migrate, LOCK_MIGRATIONS, LIMIT_WAITING)
        await connection.commit()
    await engine.dispose()


def run() -> None:
    """Migrate the database of the configured URL."""
    url = context.config.attributes["url"]
    if is_postgresql(url):
        asyncio.run(migrate_postgresql(url))
    else:
        migrate_sqlite(url)


run()
