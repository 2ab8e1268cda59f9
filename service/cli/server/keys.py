"""Create, list and revoke API keys in the database: `framehook keys`."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
import typer
from rich.table import Table

from infra.database.errors import DATABASE_ERRORS
from service.api.access.keys import KeyWithSecret, to_dict
from service.cli.console import escape_cell, print_table, to_printable
from service.cli.errors import NOT_FOUND_STATUS, REFUSED_STATUS, USAGE_STATUS, exit_with
from service.cli.server.settings_database import exit_without_database, open_settings_database
from service.cli.server.tokens import require_user_id
from service.clock import DAY_SECONDS
from service.jobs.serializers import format_timestamp
from service.jobs.transitions import lock_user
from service.keys import store
from service.keys.models import ApiKey
from service.keys.scopes import Scope
from service.settings import Settings
from service.startup.commands import load_settings_or_exit
from service.startup.statuses import CONFIGURATION_STATUS


def create_key(user: str, name: str, scopes: Sequence[Scope], days: float | None, *, as_json: bool) -> None:
    """Create a key of a user and print it; nothing else goes to the standard output."""
    settings = load_settings_or_exit()
    if not settings.authenticated:
        exit_with(
            CONFIGURATION_STATUS,
            "AUTH_JWT_SECRET and AUTH_JWKS_URL are not set, so the service asks for no token and needs no keys",
        )
    require_user_id(user)
    if not name or not name.isprintable():
        exit_with(USAGE_STATUS, "--name must have printable characters")
    try:
        row, key = asyncio.run(_create(settings, user, name, scopes, days))
    except store.TooManyKeys:
        exit_with(
            REFUSED_STATUS,
            f"the user has {store.MAX_ACTIVE_KEYS} active keys, which is the maximum; revoke one first",
        )
    except DATABASE_ERRORS as error:
        exit_without_database(error)
    if as_json:
        typer.echo(msgspec.json.encode(KeyWithSecret(**to_dict(row), key=key)).decode())
        return
    until = "does not expire" if row.expires_at is None else f"expires at {format_timestamp(row.expires_at)}"
    typer.echo(
        to_printable(f"Created {row.key_id} of {user}; it {until}. The key is not shown again:"), err=True
    )
    typer.echo(key)


def list_keys(user: str | None, *, as_json: bool) -> None:
    """Print the keys of a user, or of all users."""
    try:
        rows = asyncio.run(_list(load_settings_or_exit(), user))
    except DATABASE_ERRORS as error:
        exit_without_database(error)
    if as_json:
        keys = [{"user": row.user_id, **to_dict(row)} for row in rows]
        typer.echo(msgspec.json.encode({"keys": keys}).decode())
        return
    print_table(_to_table(rows, time.time()))


def revoke_key(key_id: str) -> None:
    """Revoke a key of any user."""
    try:
        revoked = asyncio.run(_revoke(load_settings_or_exit(), key_id))
    except DATABASE_ERRORS as error:
        exit_without_database(error)
    if revoked is None:
        exit_with(NOT_FOUND_STATUS, f"there is no key {key_id} that is not revoked yet")
    typer.echo(
        to_printable(f"Revoked {key_id} of {revoked.user_id}: no replica takes it after a few seconds.")
    )


def _to_table(rows: Sequence[ApiKey], now: float) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("KEY", "USER", "NAME", "BEGINS", "SCOPES", "STATE", "LAST USED"):
        table.add_column(column, overflow="fold", no_wrap=column == "KEY")
    for row in rows:
        state = "active" if row.is_active(now) else "expired" if row.revoked_at is None else "revoked"
        last_used = format_timestamp(row.last_used_at) or "never"
        cells = (row.key_id, row.user_id, row.name, row.hint, row.scopes.replace(",", " "), state, last_used)
        table.add_row(*map(escape_cell, cells))
    return table


async def _create(
    settings: Settings, user: str, name: str, scopes: Sequence[Scope], days: float | None
) -> tuple[ApiKey, str]:
    now = time.time()
    expires_at = None if days is None else now + days * DAY_SECONDS
    async with open_settings_database(settings) as database, database.transaction() as session:
        await lock_user(session, user)
        return await store.create(session, user, name=name, scopes=scopes, expires_at=expires_at, now=now)


async def _list(settings: Settings, user: str | None) -> list[ApiKey]:
    async with open_settings_database(settings) as database, database.reading() as session:
        return await store.list_by_user(session, user)


async def _revoke(settings: Settings, key_id: str) -> ApiKey | None:
    async with open_settings_database(settings) as database, database.transaction() as session:
        return await store.revoke(session, key_id, None, now=time.time())
