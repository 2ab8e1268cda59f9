"""What can be checked at any time on this machine alone: the settings, the disk, the limit of open files."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.storage.disk_reserve import MIN_FREE_BYTES
from service.composition.factories import create_http_limits
from service.dispatch.runners.disk_space import MAX_RESERVED_BYTES
from service.http_server.limits import fit_to_open_files, raise_open_file_limit
from service.settings import Settings, find_unknown_settings, find_warnings
from service.startup.findings import Finding, fail, ok, warn

GIBIBYTE = 2**30


def _read_free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def run_checks(settings: Settings) -> list[Finding]:
    """Return what is odd about the settings, and what the disk and the limits of this process allow."""
    sentences = (*find_unknown_settings(), *find_warnings(settings))
    return [*(warn("settings", sentence) for sentence in sentences), *check_machine(settings)]


def check_machine(settings: Settings) -> list[Finding]:
    """Return what the disk and the limits of this process allow."""
    return [check_disk(settings), check_open_files(settings, raise_open_file_limit())]


def check_disk(settings: Settings, free_bytes: Callable[[Path], int] = _read_free_bytes) -> Finding:
    """Check that the disk of the data folder, and that of runs, have room for what is reserved at most."""
    data_dir = settings.data_dir.absolute()
    nearest = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    scratch = data_dir / "scratch"
    free, folder = min((free_bytes(path), path) for path in (nearest, scratch) if path.exists())
    runs = 0 if settings.modal_enabled else settings.local_workers
    wanted = MIN_FREE_BYTES + runs * MAX_RESERVED_BYTES
    sentence = f"DATA_DIR: {free / GIBIBYTE:.1f} GiB are free on the disk of {folder}"
    if free < MIN_FREE_BYTES:
        return fail("disk", f"{sentence}, too little to store files or start exports; free some space")
    if free < wanted:
        return warn(
            "disk", f"{sentence}, and {runs} runs may reserve {wanted / GIBIBYTE:.1f}; free some space"
        )
    return ok("disk", f"{free / GIBIBYTE:.1f} GiB are free")


def check_open_files(settings: Settings, open_files: int) -> Finding:
    """Check that the process may open as many files as MAX_CONNECTIONS asks for."""
    connections = fit_to_open_files(create_http_limits(settings).connections, open_files).total
    if connections < settings.max_connections:
        return warn(
            "open files",
            f"MAX_CONNECTIONS: the limit of {open_files} files allows {connections} connections, not "
            f"{settings.max_connections}; raise `ulimit -n`",
        )
    return ok("open files", f"{open_files} are allowed")
