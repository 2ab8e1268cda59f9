"""Open the database of the settings, for commands that need no running service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from service.audit.caller import CALLER, Actor, Caller
from service.cli.errors import FAILED_STATUS, exit_with
from service.settings import Settings
from service.startup.data_folder import DATABASE


@asynccontextmanager
async def open_settings_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database until the block ends; what is changed in it, an operator has done."""
    url = settings.database_url or sqlite_url(settings.data_dir / DATABASE)
    if not is_postgresql(url) and not sqlite_path(url).exists():
        exit_with(
            FAILED_STATUS, f"there is no database {sqlite_path(url)}; `framehook db upgrade` creates it"
        )
    CALLER.set(Caller(Actor.OPERATOR))
    database = open_database(url)
    try:
        yield database
    finally:
        await database.close()


def exit_without_database(error: BaseException) -> NoReturn:
    """Exit and say that the database can't be used."""
    reason = str(error).partition("\n")[0]
    exit_with(FAILED_STATUS, f"the database can't be used: {reason}; `framehook db upgrade` prepares it")
