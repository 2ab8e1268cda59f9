"""Brings a database to the newest schema, by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


def config(url: str) -> Config:
    """Alembic's configuration, without a file."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["url"] = url
    return found


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing; does nothing on a database that is up to date."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier revision; `base` is the empty database."""
    command.downgrade(config(url), revision)
