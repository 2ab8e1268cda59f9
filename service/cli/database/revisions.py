"""Show and upgrade the schema: `framehook db current`, `framehook db upgrade`."""

import asyncio

import msgspec
import typer

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path
from service import schema
from service.doctor.database import database_url_of
from service.schema import SchemaAge
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import as_start_errors, prepare_data_dir

_MEANINGS = {
    SchemaAge.EMPTY: "none yet",
    SchemaAge.OLDER: "older than this release; run framehook db upgrade",
    SchemaAge.CURRENT: "the newest",
    SchemaAge.NEWER: "of a newer release",
}


def upgrade() -> None:
    """Upgrade the database to the newest schema, and say so."""
    settings = load_settings_or_exit()
    url = database_url_of(settings)
    with exit_on_start_error(), as_start_errors(settings):
        prepare_data_dir(settings.data_dir)
        schema.upgrade(url)
    name = "" if is_postgresql(url) else f" {sqlite_path(url)}"
    typer.echo(f"The database{name} is up to date.")


def print_current(*, as_json: bool) -> None:
    """Print the revision of the schema, and how it compares with this release."""
    settings = load_settings_or_exit()
    with exit_on_start_error(), as_start_errors(settings):
        found_schema = asyncio.run(schema.read_schema(database_url_of(settings)))
    if as_json:
        typer.echo(msgspec.json.encode(found_schema).decode())
        return
    typer.echo(f"{found_schema.revision or '-'} ({_MEANINGS[found_schema.age]})")
