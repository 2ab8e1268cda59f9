"""The commands on the database: `framehook db …`. What they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import AsJson, Yes, command_group, examples

database = command_group("Manage the database.")

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@database.command(epilog=examples("framehook db upgrade"))
def upgrade() -> None:
    """Upgrade the database of DATABASE_URL to the newest schema.

    SQLite is upgraded when the service starts; PostgreSQL needs this command before each new release.
    """
    from service.cli.database.revisions import upgrade

    upgrade()


@database.command(epilog=examples("framehook db current", "framehook db current --json"))
def current(*, as_json: AsJson = False) -> None:
    """Show the schema of the database and the newest one."""
    from service.cli.database.revisions import print_current

    print_current(as_json=as_json)


@database.command(epilog=examples("framehook db backup framehook-2026-11-30.db"))
def backup(file: BackupFile) -> None:
    """Write the database to a new file, also while the service runs.

    The copy is of one moment, and complete or not there. SQLite is copied by Framehook itself, PostgreSQL by `pg_dump`.
    Neither has the files of uploads and exports, nor the secret in DATA_DIR.
    """
    from service.cli.database.backups import back_up

    back_up(file)


@database.command(
    epilog=examples(
        "framehook db restore framehook-2026-11-30.db", "framehook db restore framehook.dump --force"
    )
)
def restore(
    file: BackupFile,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a database that has data; it is lost.")
    ] = False,
) -> None:
    """Replace the database by a backup.

    Refused while a service runs on it, if it has data, and for a backup of a newer release. PostgreSQL is restored by
    `pg_restore`, in one transaction.
    """
    from service.cli.database.backups import restore

    restore(file, force=force)


@database.command(
    epilog=examples("framehook db check", "framehook db check --json", "framehook db check --fix")
)
def check(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended, after saying what that is.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check the database and the files that its rows name.

    May run while the service does. The exit status is 1 if something is wrong. --fix deletes files that belong to no
    row, adds rows for uploads without one, deletes rows of uploads whose file is missing, and lets exports expire
    whose file is missing.
    """
    from service.cli.database.checks import check

    check(fix=fix, yes=yes, as_json=as_json)
