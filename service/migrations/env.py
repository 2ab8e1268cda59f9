"""Alembic's way in, for both databases; one transaction for a whole upgrade."""

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from infra.database.postgresql import asyncpg_dsn, is_postgresql

ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7205759403792)")


def migrate(connection: Connection) -> None:
    """Bring the connection's database to the revision that was asked for."""
    context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(ONE_AT_A_TIME)  # replicas that start together must not both create the tables
        context.run_migrations()


def migrate_sqlite(url: str) -> None:
    """Over the synchronous driver."""
    engine = create_engine(make_url(url).set(drivername="sqlite"), poolclass=pool.NullPool)
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


async def migrate_postgresql(url: str) -> None:
    """Over asyncpg, which reads the URL itself, `sslmode` and all."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(asyncpg_dsn(url), timeout=10),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


def run() -> None:
    """Migrate the database that the configuration names."""
    url = context.config.attributes["url"]
    if is_postgresql(url):
        asyncio.run(migrate_postgresql(url))
    else:
        migrate_sqlite(url)


run()
