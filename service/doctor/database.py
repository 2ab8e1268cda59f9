"""The database: can it be used, is its schema that of this release, and does it pass on what replicas announce?"""

import asyncio
import sqlite3
import time
import uuid

import asyncpg

from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from service import schema
from service.doctor.clock import compare_clocks
from service.schema import Schema, SchemaAge
from service.settings import Settings
from service.startup.data_folder import DATABASE
from service.startup.errors import schema_error
from service.startup.findings import Finding, fail, finding_from, ok, warn

CONNECT_SECONDS = 10.0
NOTIFY_SECONDS = 3.0


async def examine_database(settings: Settings) -> list[Finding]:
    """Check the database, and of PostgreSQL its clock and its notifications; raises what the database raises."""
    findings = [await check_database(settings)]
    url = database_url_of(settings)
    if not is_postgresql(url):
        return [*findings, ok("database version", f"SQLite {sqlite3.sqlite_version}")]
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=CONNECT_SECONDS)
    try:
        version = await connection.fetchval("SHOW server_version")
        before = time.time()
        there = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
        here = (before + time.time()) / 2
        findings.append(ok("database version", f"PostgreSQL {version}"))
        findings.append(compare_clocks("the database", here=here, there=there))
        findings.append(await _check_notifications(url, connection))
    finally:
        await connection.close()
    return findings


async def _check_notifications(url: str, sender: asyncpg.Connection) -> Finding:
    """Check that another connection gets a notification: replicas hear of each other's changes by them."""
    channel, arrived = f"framehook_doctor_{uuid.uuid4().hex}", asyncio.Event()
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=CONNECT_SECONDS)
    try:
        await connection.add_listener(channel, lambda *_: arrived.set())
        await sender.execute(f"NOTIFY {channel}")
        async with asyncio.timeout(NOTIFY_SECONDS):
            await arrived.wait()
    except TimeoutError:
        return fail(
            "notifications",
            "DATABASE_URL: a pooler drops notifications, so streams miss what other replicas change; "
            "use its session mode, or connect to the server itself",
        )
    finally:
        connection.terminate()
    return ok("notifications", "reach other connections")


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
