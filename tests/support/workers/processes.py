"""The processes of local runs, found as the service finds them: by the lock of their scratch folder."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def find_runs(job_id: str) -> list[int]:
    """Return the process ids of a job's runs, whose scratch folders are named after it."""
    return find_lock_holders(lambda folder: job_id in folder.name)


def find_lock_holders(is_wanted: Callable[[Path], bool]) -> list[int]:
    """Return the process ids of the runs in these scratch folders: those that lead a process group."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(path.name)
            # A fork server has the lock of a run for a moment, but no standard input.
            is_run = os.getpgid(pid) == pid and (path / "fd" / "0").readlink() != Path(os.devnull)
            if is_run and any(
                file.name == "lock" and is_wanted(file.parent) for file in list_open_files(pid)
            ):
                pids.append(pid)
    return sorted(pids)


def read_environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def find_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still wait for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def find_children(parent: int) -> list[int]:
    """Return the process ids of a process's children."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if find_parent(int(path.name)) == parent:
                pids.append(int(path.name))
    return sorted(pids)


def find_group_processes(run: int) -> list[int]:
    """Return the process ids of a run and its children that live."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == run and state != "Z":
            pids.append(int(path.parent.name))
    return sorted(pids)


def list_open_files(pid: int) -> list[Path]:
    """Return what the file descriptors of a process refer to."""
    files = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it may be closed by now
            files.append(link.readlink())
    return files
