"""The database itself: its schema, and whether everything in it can be read."""

import asyncio

import asyncpg

from infra.database import sqlite_backup
from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path
from service import schema
from service.schema import Schema, SchemaAge
from service.startup.findings import Finding, fail, ok, warn

CONNECT_SECONDS = 10


async def check_integrity(url: str) -> list[Finding]:
    """Check the schema, and read everything; raises what the database raises."""
    found_schema = await schema.read_schema(url)
    if found_schema.age is SchemaAge.EMPTY:
        return [fail("database", "it has no tables yet; run framehook db upgrade, or start the service")]
    findings = [ok("schema", f"{found_schema.revision}, the newest")]
    if found_schema.age is SchemaAge.OLDER:
        findings = [
            warn(
                "schema",
                f"{found_schema.revision} is not the newest ({found_schema.newest}); run framehook db upgrade",
            )
        ]
    if found_schema.age is SchemaAge.NEWER:
        findings = [fail("schema", f"{found_schema.revision} is of a newer release; run that release")]
    if is_postgresql(url):
        return [*findings, await _read_postgresql(url)]
    damage = await asyncio.to_thread(sqlite_backup.list_damage, sqlite_path(url))
    if not damage:
        return [*findings, ok("integrity", "every page, index and reference is intact")]
    return [*findings, *(fail("integrity", f"{line}; restore a backup") for line in damage)]


def _describe_schema(found_schema: Schema) -> Finding:
    revision = found_schema.revision
    if found_schema.age is SchemaAge.OLDER:
        advice = f"is not the newest ({found_schema.newest}); run framehook db upgrade"
        return warn("schema", f"{revision} {advice}")
    if found_schema.age is SchemaAge.NEWER:
        return fail("schema", f"{revision} is of a newer release; run that release")
    return ok("schema", f"{revision}, the newest")


async def _read_postgresql(url: str) -> Finding:
    """Read every row once: the server reports pages that are damaged."""
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=CONNECT_SECONDS)
    rows = 0
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (table,) in tables:
            rows += await connection.fetchval(f'SELECT count(t.*::text) FROM "{table}" AS t')  # noqa: S608 - the name of a table
    except (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError) as error:
        return fail("integrity", f"{error}; restore a backup")
    finally:
        await connection.close()
    return ok("integrity", f"all {rows} rows in {len(tables)} tables can be read")
