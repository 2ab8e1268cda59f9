"""Erase users: `framehook users erase`."""

import asyncio
import time

import msgspec
import typer

from infra.database.errors import DATABASE_ERRORS
from infra.storage import StorageError
from service.cli.console import to_printable
from service.cli.errors import FAILED_STATUS, confirm, exit_with
from service.cli.server.settings_database import open_settings_database
from service.composition.factories import USERS_IN_LOGS, create_storage, derive_key, load_master_keys
from service.exports.user_erasure import Receipt, UserEraser
from service.settings import Settings
from service.startup.commands import load_settings_or_exit
from service.startup.logging_setup import hash_user


def erase_user(user: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Erase a user and print the receipt."""
    settings = load_settings_or_exit()
    if not (dry_run or yes):
        confirm(f"Erase everything of the user {to_printable(user)} for good?", "--yes")
    try:
        receipt = asyncio.run(_erase(settings, user, dry_run=dry_run))
    except (StorageError, OSError, *DATABASE_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        exit_with(FAILED_STATUS, f"not everything could be erased: {reason}; run the command again")
    if as_json:
        typer.echo(msgspec.json.encode(receipt).decode())
        return
    typer.echo(to_printable(f"{user} has" if dry_run else f"Deleted of {user}:"))
    for name, count in {**receipt.rows, "files": receipt.files, "bytes": receipt.bytes}.items():
        typer.echo(f"  {name.replace('_', ' '):<20}{count:>12}")


async def _erase(settings: Settings, user_id: str, *, dry_run: bool) -> Receipt:
    async with open_settings_database(settings) as database:
        master_key = load_master_keys(settings)[0]
        storage = create_storage(settings, master_key)
        eraser = UserEraser(database, storage, time.time)
        try:
            if dry_run:
                return await eraser.measure(user_id)
            user_hash = hash_user(derive_key(master_key, USERS_IN_LOGS), user_id)
            return await eraser.erase(user_id, audit_id=user_hash)
        finally:
            await storage.close()
