"""Alembic's way in: a plain connection of the synchronous driver, one transaction for a whole upgrade."""

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

import service.models  # noqa: F401 - fills the metadata


def run() -> None:
    """Migrate the database that the configuration names."""
    url = make_url(context.config.attributes["url"]).set(drivername="sqlite")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
