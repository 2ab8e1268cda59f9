"""Check the database and the files: `framehook db check`."""

import asyncio
import time
from collections.abc import Sequence

import typer

from infra.database.errors import DATABASE_ERRORS
from infra.database.factory import open_database
from infra.storage import StorageError
from infra.storage.inventory import FolderInventory, Inventory
from service.cli.errors import FAILED_STATUS, confirm, exit_with
from service.cli.reports import print_findings
from service.composition.factories import bucket_config
from service.doctor.database import database_url_of
from service.maintenance.files import FileCheck, Mismatch
from service.maintenance.integrity import check_integrity
from service.settings import Settings
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import as_start_errors
from service.startup.findings import Finding, Level, fail, ok


def check(*, fix: bool, yes: bool, as_json: bool) -> None:
    """Print what was found; with `fix` mend it, after a question unless `yes`."""
    settings = load_settings_or_exit()
    with exit_on_start_error(), as_start_errors(settings):
        findings = asyncio.run(check_integrity(database_url_of(settings)))
    if all(finding.level is Level.OK for finding in findings):
        findings += _check_files(settings, fix=fix, yes=yes, as_json=as_json)
    print_findings(findings, as_json=as_json)
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(FAILED_STATUS)


def _check_files(settings: Settings, *, fix: bool, yes: bool, as_json: bool) -> list[Finding]:
    try:
        return asyncio.run(_compare(settings, fix=fix, yes=yes, as_json=as_json))
    except (StorageError, OSError, *DATABASE_ERRORS) as error:
        exit_with(FAILED_STATUS, f"rows and files can't be compared: {error}")


async def _compare(settings: Settings, *, fix: bool, yes: bool, as_json: bool) -> list[Finding]:
    """Compare rows and files; with `fix` show what would be mended, ask, and mend exactly that."""
    database, inventory = open_database(database_url_of(settings)), _open_inventory(settings)
    try:
        mismatches = await FileCheck(database, inventory, time.time).compare()
        mends = [mismatch.mend for mismatch in mismatches if mismatch.mend is not None]
        if not (fix and mends):
            return _describe(mismatches)
        if not as_json:
            print_findings(_describe(mismatches))
        if not yes:
            confirm(f"Mend {len(mends)} of these?", "--yes")
        for mend in mends:
            await mend()
    finally:
        await inventory.close()
        await database.close()
    left = [mismatch for mismatch in mismatches if mismatch.mend is None]
    return [ok("files", f"mended {len(mends)}"), *(_describe(left) if left else [])]


def _describe(mismatches: Sequence[Mismatch]) -> list[Finding]:
    if not mismatches:
        return [ok("files", "rows and files belong together")]
    return [
        fail(
            "files", f"{mismatch.sentence}; --fix {mismatch.remedy}" if mismatch.remedy else mismatch.sentence
        )
        for mismatch in mismatches
    ]


def _open_inventory(settings: Settings) -> Inventory:
    config = bucket_config(settings)
    if config is None:
        return FolderInventory(settings.data_dir)
    from infra.storage.client import Bucket
    from infra.storage.inventory import BucketInventory

    return BucketInventory(Bucket(config))
