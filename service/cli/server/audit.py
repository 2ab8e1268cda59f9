"""Print the audit log from the database: `framehook audit`."""

import asyncio
from collections.abc import Sequence

import msgspec
import typer
from rich.table import Table

from infra.database.errors import DATABASE_ERRORS
from service.audit.actions import Action
from service.audit.log import EntryFilter, list_entries
from service.audit.models import AuditEntry
from service.cli.console import escape_cell, print_table
from service.cli.server.settings_database import exit_without_database, open_settings_database
from service.jobs.serializers import format_timestamp
from service.startup.commands import load_settings_or_exit


def print_audit_log(
    user: str | None,
    key: str | None,
    object_id: str | None,
    actions: Sequence[Action],
    since: float | None,
    until: float | None,
    *,
    limit: int,
    as_json: bool,
) -> None:
    """Print the newest entries that meet the conditions, newest first."""
    entry_filter = EntryFilter(user, key, object_id, actions, since, until)
    try:
        entries = asyncio.run(_list(entry_filter, limit))
    except DATABASE_ERRORS as error:
        exit_without_database(error)
    if as_json:
        shown = [msgspec.structs.asdict(entry) | {"at": format_timestamp(entry.at)} for entry in entries]
        typer.echo(msgspec.json.encode({"entries": shown}).decode())
        return
    print_table(_to_table(entries))


async def _list(entry_filter: EntryFilter, limit: int) -> list[AuditEntry]:
    async with open_settings_database(load_settings_or_exit()) as database, database.reading() as session:
        return await list_entries(session, entry_filter, limit=limit)


def _to_table(entries: list[AuditEntry]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("TIME", "USER", "BY", "ACTION", "OBJECT", "KEY", "ADDRESS", "REQUEST"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        at, user = format_timestamp(entry.at), entry.user_id or ""
        by = (entry.key_id or "", entry.address or "", entry.request_id or "")
        table.add_row(*map(escape_cell, (at, user, entry.actor, entry.action, entry.object_id, *by)))
    return table
