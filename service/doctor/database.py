"""The database: can it be used, and is its schema that of this release?"""

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from service import schema
from service.schema import Schema, SchemaAge
from service.settings import Settings
from service.startup.data_folder import DATABASE
from service.startup.errors import schema_error
from service.startup.findings import Finding, finding_from, ok, warn


async def check_database(settings: Settings) -> Finding:
    """Check that the database answers and has a schema with which the service starts; raises what it raises."""
    url = database_url_of(settings)
    found_schema = await schema.read_schema(url)
    needs_upgrade = is_postgresql(url) and found_schema.age is not SchemaAge.CURRENT
    if needs_upgrade or found_schema.age is SchemaAge.NEWER:
        return finding_from("database", schema_error(found_schema, settings))
    if is_postgresql(url):
        return ok("database", f"PostgreSQL, {_describe(found_schema)}")
    return _describe_sqlite(url, found_schema)


def database_url_of(settings: Settings) -> str:
    """Return the URL of the database: that of the settings, else the file in the data folder."""
    return settings.database_url or sqlite_url(settings.data_dir / DATABASE)


def _describe_sqlite(url: str, found_schema: Schema) -> Finding:
    path = sqlite_path(url)
    if found_schema.age is SchemaAge.EMPTY:
        return ok("database", f"SQLite; {path} is created at the start")
    if found_schema.age is SchemaAge.OLDER:
        return warn(
            "database",
            f"{path} is upgraded at the start from {found_schema.revision} to {found_schema.newest}; back it up first: "
            "framehook db backup",
        )
    return ok("database", f"SQLite, {_describe(found_schema)}")


def _describe(found_schema: Schema) -> str:
    return f"schema {found_schema.revision}, the newest"
