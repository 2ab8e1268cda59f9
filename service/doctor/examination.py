"""`framehook doctor`: every check of a configuration and of the service that runs with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from infra.database.errors import DATABASE_ERRORS
from infra.storage import StorageError
from service.composition.factories import bucket_config, load_master_keys
from service.composition.machine_checks import check_machine
from service.doctor.callbacks import check_callbacks, post_from_process
from service.doctor.configuration import check_settings
from service.doctor.database import examine_database
from service.doctor.identity import check_identity
from service.doctor.modal import examine_modal, open_runner
from service.doctor.storage import examine_bucket, examine_folder
from service.doctor.streams import check_streams
from service.settings import Inspection, Settings
from service.startup.errors import StartError, as_start_errors
from service.startup.findings import Finding, fail, finding_from

CHECK_SECONDS = 150.0
"""A container of Modal may have to start for a probe."""


async def examine(inspection: Inspection, token: str | None) -> list[Finding]:
    """Run every check, side by side; those of the service need valid settings."""
    findings = check_settings(inspection)
    settings = inspection.settings
    if settings is None or inspection.problems:
        return findings
    checks: dict[str, Callable[[], Awaitable[list[Finding]]]] = {
        "database": lambda: examine_database(settings),
        "storage": lambda: _examine_storage(settings),
        "callbacks": lambda: _examine_runner(settings),
        "identity": lambda: check_identity(settings),
        "streams": lambda: _examine_streams(settings, token),
    }
    results = await asyncio.gather(*(_run_check(name, check, settings) for name, check in checks.items()))
    return [*findings, *check_machine(settings), *(finding for result in results for finding in result)]


async def _run_check(
    name: str, check: Callable[[], Awaitable[list[Finding]]], settings: Settings
) -> list[Finding]:
    """Run a check; an error that ends it is a finding too."""
    try:
        with as_start_errors(settings):
            async with asyncio.timeout(CHECK_SECONDS):
                return await check()
    except StartError as error:
        return [finding_from(name, error)]
    except (StorageError, TimeoutError, *DATABASE_ERRORS) as error:
        return [
            fail(name, f"the check failed ({type(error).__name__}: {error}); try again", is_temporary=True)
        ]


async def _examine_storage(settings: Settings) -> list[Finding]:
    config = bucket_config(settings)
    if config is None:
        return [await asyncio.to_thread(examine_folder, settings.data_dir)]
    pages = ([settings.origin] if settings.public_url else []) + list(settings.allowed_origins)
    return await examine_bucket(config, pages, time.time)


async def _examine_runner(settings: Settings) -> list[Finding]:
    """Check Modal, if runs are there, and post a probe from where runs are."""
    has_secret = settings.callback_secret or (settings.data_dir / "callback_secret").exists()
    if not has_secret:
        return [fail("callbacks", "no secret was made yet; start the service once with these settings")]
    master_key = load_master_keys(settings)[0]
    if not settings.modal_enabled:
        return [await check_callbacks(settings, master_key, post_from_process)]
    async with open_runner(settings) as runner:
        return await examine_modal(settings, runner, master_key)


async def _examine_streams(settings: Settings, token: str | None) -> list[Finding]:
    return [await check_streams(settings, token)]
