"""`framehook serve --check-config`: all that would prevent a start, without one."""

from collections.abc import Awaitable, Callable

from gpu.export_types.registry import get_export_types
from infra.database.postgresql import is_postgresql
from infra.lock import hold_lock
from service.composition.factories import bucket_config, create_runner, load_master_keys
from service.composition.runner_parts import find_runner_price
from service.dispatch.runners.reach import find_doubtful_address
from service.doctor.database import check_database
from service.doctor.storage import check_bucket_access
from service.http_server.listening import open_sockets
from service.settings import (
    Inspection,
    Settings,
    find_unknown_settings,
    find_warnings,
    inspect_settings,
)
from service.startup.authorities import check_authorities
from service.startup.data_folder import try_data_folder
from service.startup.errors import StartError, as_start_errors
from service.startup.findings import Finding, fail, finding_from, ok, warn
from service.workers.starter import WorkerStarter

PartCheck = Callable[[Settings], Awaitable[list[Finding]]]


async def check_configuration(**overrides: object) -> list[Finding]:
    """Check the settings, and everything that the start needs of this machine, the database and the storage.

    A part is left out whose settings are invalid. Nothing is changed: a folder that was created to see whether it can
    be is removed.
    """
    inspection = inspect_settings(**overrides)
    findings = check_settings(inspection)
    if inspection.settings is None:
        return findings
    for names, check in _PARTS:
        if not inspection.invalid.intersection(names):
            findings += await _run_check(check, inspection.settings)
    return findings


def check_settings(inspection: Inspection) -> list[Finding]:
    """Return what is wrong and what is odd with the settings themselves."""
    findings = [fail("settings", sentence) for sentence in inspection.problems]
    findings += [warn("settings", sentence) for sentence in find_unknown_settings()]
    if inspection.settings is not None and not inspection.problems:
        findings += [warn("settings", sentence) for sentence in find_warnings(inspection.settings)]
    return findings or [ok("settings", "all are valid")]


async def _run_check(check: PartCheck, settings: Settings) -> list[Finding]:
    """Run a check; what prevents the start becomes a finding."""
    name = check.__name__.removeprefix("_check_").replace("_", " ")
    try:
        with as_start_errors(settings):
            return await check(settings)
    except StartError as error:
        return [finding_from(name, error)]


async def _check_authorities(_settings: Settings) -> list[Finding]:
    check_authorities()
    return []


async def _check_data_folder(settings: Settings) -> list[Finding]:
    with try_data_folder(settings.data_dir):
        lock = settings.data_dir / "service.lock"
        is_shared = settings.database_url is not None and is_postgresql(settings.database_url)
        if lock.exists() and not is_shared:
            with hold_lock(lock):
                pass
        if settings.callback_secret or (settings.data_dir / "callback_secret").exists():
            load_master_keys(settings)
    return [ok("data folder", f"{settings.data_dir} can be used")]


async def _check_ports(settings: Settings) -> list[Finding]:
    findings = []
    for port, setting in ((settings.port, "PORT"), (settings.metrics_port, "METRICS_PORT")):
        if port is None:
            continue
        try:
            for server_socket in open_sockets(settings.host, port, setting):
                server_socket.close()
        except StartError as error:
            findings.append(finding_from("ports", error))
        else:
            findings.append(ok("ports", f"{settings.host} port {port} is free"))
    return findings


async def _check_database(settings: Settings) -> list[Finding]:
    return [await check_database(settings)]


async def _check_storage(settings: Settings) -> list[Finding]:
    config = bucket_config(settings)
    return [] if config is None else [await check_bucket_access(config)]


async def _check_runner(settings: Settings) -> list[Finding]:
    """Check what the settings of Modal say themselves; nothing is asked of Modal."""
    runner = None
    if settings.modal_enabled:
        from service.dispatch.runners.modal import is_modal_cloud

        runner = create_runner(settings, WorkerStarter())
        find_runner_price(settings, runner)
        if is_modal_cloud() and (doubt := find_doubtful_address(settings)):
            return [warn("runner", doubt)]
    return [ok("runner", "Modal" if runner else f"{settings.local_workers} local processes")]


async def _check_export_types(_settings: Settings) -> list[Finding]:
    types = get_export_types()
    errors = [warn("export types", error) for error in types.list_errors()]
    return [*errors, ok("export types", ", ".join(types.names))]


_PARTS: tuple[tuple[tuple[str, ...], PartCheck], ...] = (
    ((), _check_authorities),
    (("DATA_DIR", "CALLBACK_SECRET", "DATABASE_URL"), _check_data_folder),
    (("HOST", "PORT", "METRICS_PORT"), _check_ports),
    (("DATA_DIR", "DATABASE_URL"), _check_database),
    (("R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME"), _check_storage),
    (("MODAL_ENABLED", "MODAL_GPU", "GPU_USD_PER_SECOND", "CALLBACK_URL", "PUBLIC_URL"), _check_runner),
    ((), _check_export_types),
)
"""Each check after the settings that it reads."""
