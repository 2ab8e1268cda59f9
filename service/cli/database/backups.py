"""Back up and restore the database: `framehook db backup`, `framehook db restore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from infra.database.postgresql import is_postgresql
from infra.database.postgresql_tools import ToolFailed, ToolMissing
from infra.database.sqlite_backup import DamagedDatabase
from service.cli.console import format_size
from service.cli.errors import FAILED_STATUS, USAGE_STATUS, exit_with
from service.doctor.database import database_url_of
from service.maintenance import backup
from service.maintenance.backup import NotPossible, WrongFile
from service.schema import SchemaAge
from service.settings import Settings
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import as_start_errors, prepare_data_dir

_REASON = "no run from before can then report for a later one"


def back_up(file: Path) -> None:
    """Write the database to a new file, and say what is not in it."""
    settings = load_settings_or_exit()
    with _exit_on_errors(settings):
        found_schema = backup.back_up(database_url_of(settings), file)
    typer.echo(f"Wrote {file} ({format_size(file.stat().st_size)}, schema {found_schema.revision}).")
    if not settings.callback_secret:
        typer.echo(f"It does not have the secret in {settings.data_dir / 'callback_secret'}.")
    if not settings.r2_bucket_name:
        typer.echo(
            f"It does not have the files in {settings.data_dir / 'objects'}; copy them after the backup."
        )


def restore(file: Path, *, force: bool) -> None:
    """Replace the database by a backup, and say what has to follow."""
    settings = load_settings_or_exit()
    url = database_url_of(settings)
    with _exit_on_errors(settings):
        prepare_data_dir(settings.data_dir)
        found_schema = backup.restore(url, file, settings.data_dir, force=force)
    typer.echo(f"Restored the database from {file} (schema {found_schema.revision}).")
    if found_schema.age is SchemaAge.OLDER:
        when = "now run framehook db upgrade" if is_postgresql(url) else "it is upgraded at the start"
        typer.echo(f"Its schema is older than this release: {when}.")
    kept = settings.data_dir / "callback_secret"
    step = "Start the service with a new CALLBACK_SECRET and without the old one"
    typer.echo(
        f"{step}: {_REASON}." if settings.callback_secret else f"Delete {kept} before the start: {_REASON}."
    )


@contextmanager
def _exit_on_errors(settings: Settings) -> Iterator[None]:
    """Exit with a sentence and a status: what is wrong with the file is not a wrong setting."""
    try:
        with exit_on_start_error(), as_start_errors(settings), _name_files():
            yield
    except WrongFile as error:
        exit_with(USAGE_STATUS, str(error))
    except (NotPossible, ToolFailed) as error:
        exit_with(FAILED_STATUS, str(error))
    except DamagedDatabase as error:
        exit_with(FAILED_STATUS, f"the database is damaged ({error}); see framehook db check")
    except ToolMissing as missing:
        program = str(missing).partition(" ")[0]
        advice = "where it is, run this, with the password in PGPASSWORD"
        exit_with(FAILED_STATUS, f"{program} is not installed here; {advice}:\n  {missing}")


@contextmanager
def _name_files() -> Iterator[None]:
    """Raise an error of the file system as that of the file which it names."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise WrongFile(f"{error.filename}: {(error.strerror or '').lower()}") from None
