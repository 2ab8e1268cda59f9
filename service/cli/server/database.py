"""Upgrade the database: `framehook db upgrade`."""

import typer

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from service import schema
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import as_start_errors, prepare_data_dir


def upgrade() -> None:
    """Upgrade the database to the newest schema, and say so."""
    settings = load_settings_or_exit()
    with exit_on_start_error(), as_start_errors(settings):
        prepare_data_dir(settings.data_dir)
        url = settings.database_url or sqlite_url(settings.data_dir / "framehook.db")
        schema.upgrade(url)
    name = "" if is_postgresql(url) else f" {sqlite_path(url)}"
    typer.echo(f"The database{name} is up to date.")
