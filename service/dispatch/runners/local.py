"""Run each attempt on this machine, in a separate process group."""

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path

from gpu.crash_signals import crash_error, is_crash
from gpu.spec import AttemptSpec
from infra.private_files import make_private_folder
from infra.storage import DiskFull
from infra.storage.disk_reserve import DiskReserve, convert_full_disk
from service.dispatch.runners.base import CallStatus, Failed, RunnerNotice, RunnerRefused, Running
from service.dispatch.runners.disk_space import ScratchSpace
from service.workers.fork_server import ForkServerLost
from service.workers.log import finish_log, log_run
from service.workers.process import WorkerProcess
from service.workers.starter import WorkerStarter

logger = logging.getLogger("framehook.runners")

KILL_AFTER_SECONDS = 2.0
ENDINGS_KEPT = 1_000
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit statuses of a run that got SIGTERM: systemd, for one, sends it to all processes of the service."""


class LocalRunner:
    """Runs a process per attempt, at most `workers` in parallel.

    A run ends by itself within seconds of the service that started it. `alone` says that no other service uses the
    scratch folder: runs that are alive in it are left over, and are killed. `reserve` limits how much of the disk runs
    may use; without one they may fill it.
    """

    name = "local"
    gpu: str | None = None
    shares_filesystem = True
    notice: RunnerNotice | None = None

    def __init__(
        self,
        scratch: Path,
        workers: int,
        *,
        instance: str | None = None,
        alone: bool = False,
        reserve: DiskReserve | None = None,
        starter: WorkerStarter | None = None,
    ) -> None:
        self._scratch = scratch.absolute()
        self._starter = starter or WorkerStarter()
        self._space = ScratchSpace(reserve, self._scratch)
        self.max_runs: int | None = workers
        self._workers = workers
        self.busy_reason = "1 local worker" if workers == 1 else f"{workers} local workers"
        self.instance = f"local-{instance or uuid.uuid4().hex[:12]}-"
        self._processes: dict[str, WorkerProcess] = {}
        self._ended: list[str] = []
        self._crashed: deque[str] = deque(maxlen=ENDINGS_KEPT)
        self._terminated: deque[str] = deque(maxlen=ENDINGS_KEPT)
        self._reapers: set[asyncio.Task[None]] = set()
        self.freed = asyncio.Event()
        make_private_folder(self._scratch)
        remove_abandoned(self._scratch, kill_runs=alone)

    def capacity(self) -> int:
        return max(0, self._workers - len(self._processes))

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return f"{self.instance}{job_id}-{attempt}"

    async def spawn(self, spec: AttemptSpec) -> str:
        folder = self._scratch / spec.call_id
        if folder.exists():
            raise RunnerRefused("spawn_failed", "The attempt is already running.", transient=True)
        try:
            with convert_full_disk():
                folder.mkdir(mode=0o700)
                lock = (folder / "lock").open("w")
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with await asyncio.to_thread(self._space.reserve, spec) as reserved:
                    process = await self._starter.start(
                        "gpu.worker",
                        *("--end-with-stdin", "--scratch", str(folder)),
                        *("--keep-free-bytes", str(self._space.keep_bytes)),
                        kept_open=(lock.fileno(), reserved.fileno()),
                    )
            (folder / "group").write_text(str(process.pid))
        except DiskFull:
            shutil.rmtree(folder, ignore_errors=True)
            raise RunnerRefused(
                "disk_full",
                "The disk is full. The export waits until there is space.",
                transient=True,
                counted=False,
            ) from None
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RunnerRefused(
                "spawn_failed",
                "The process for the export could not be started.",
                transient=True,
                counted=not isinstance(error, ForkServerLost),  # the next one is not forked
            ) from error
        self._processes[spec.call_id] = process
        self._start_reaper(spec, process)
        # It stays open: the run ends when it is closed, which happens however this service ends.
        process.stdin.write(spec.model_dump_json(by_alias=True).encode() + b"\n")
        return spec.call_id

    async def probe(self, call_id: str) -> CallStatus:
        if call_id in self._processes or _is_alive(self._scratch / call_id):
            return Running()
        if call_id in self._crashed:
            crash = crash_error()
            return Failed(crash.code, crash.message, transient=crash.transient)
        message = "The process that ran the export ended unexpectedly."
        is_of_another = not call_id.startswith(self.instance)  # a run ends with the service that started it
        interrupted = is_of_another or call_id in self._terminated
        return Failed("run_lost", message, transient=True, interrupted=interrupted)

    def drain_ended(self) -> list[str]:
        ended, self._ended = self._ended, []
        return ended

    async def cancel(self, call_id: str) -> None:
        process = self._processes.get(call_id)
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER_SECONDS):
                await process.wait()
        except TimeoutError:
            _signal_group(process, signal.SIGKILL)
            await process.wait()

    async def check(self) -> None:
        """Do nothing: starting a process can always be tried."""

    async def close(self) -> None:
        await asyncio.gather(*(self.cancel(call_id) for call_id in list(self._processes)))
        await asyncio.gather(*self._reapers)

    def _start_reaper(self, spec: AttemptSpec, process: WorkerProcess) -> None:
        reaper = asyncio.create_task(self._reap(spec, process))
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)

    async def _reap(self, spec: AttemptSpec, process: WorkerProcess) -> None:
        call_id = spec.call_id
        log_copy = asyncio.create_task(log_run(process.stderr, spec.job_id, spec.attempt))
        code = await process.wait()
        process.stdin.close()
        if code != 0:
            extra = {"job": spec.job_id, "attempt": spec.attempt}
            level = logging.INFO if code in _TERMINATED else logging.WARNING
            logger.log(level, "the run ended with exit status %d", code, extra=extra)
        if is_crash(code):
            self._crashed.append(call_id)
        if code in _TERMINATED:
            self._terminated.append(call_id)
        _signal_group(process, signal.SIGKILL)  # children that it left behind
        try:
            await finish_log(log_copy)
            await asyncio.to_thread(shutil.rmtree, self._scratch / call_id, ignore_errors=True)
        finally:  # even if cleaning up fails, the capacity is free again
            self._free_capacity(call_id)

    def _free_capacity(self, call_id: str) -> None:
        self._space.release(call_id)
        del self._processes[call_id]
        self._ended.append(call_id)
        self.freed.set()


def remove_abandoned(scratch: Path, *, kill_runs: bool = False) -> int:
    """Remove the scratch folders of runs that have ended, and return how many there were.

    A lock on the folder is held as long as any process of the run lives. `kill_runs` kills runs that still live, for
    use where no other service can own them: their callbacks would be answered 410, but they use the machine until then.
    """
    removed = 0
    for folder in scratch.glob("local-*"):
        if not _is_abandoned(folder):
            if not kill_runs:
                continue
            _kill_group(folder)
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed


def _is_alive(folder: Path) -> bool:
    """Return whether the run lives, possibly started by another service that shares the scratch folder."""
    return folder.is_dir() and not _is_abandoned(folder)


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _kill_group(folder: Path) -> None:
    """Kill the process group of a run; its lock is held, so its number can't have been reused."""
    with suppress(OSError, ValueError):
        os.killpg(int((folder / "group").read_text()), signal.SIGKILL)


def _signal_group(process: WorkerProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
