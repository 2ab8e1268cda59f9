"""Replicas as processes, and the runs that they start: kill, freeze and restart them.

Replicas are forked from a process that has imported everything: that takes tens of milliseconds, a fresh start a
second, so more faults fit into the same time.
"""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx

from tests.faults.checkers.violations import RequestUnanswered
from tests.faults.cluster import replica_entry
from tests.faults.cluster.replica_entry import Start
from tests.support.live_server import free_port
from tests.support.workers.processes import find_lock_holders

START_SECONDS = 120.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.05
SERVE = ("tests.faults.cluster.replica_entry:serve",)
"""The function that a replica runs, and words for it that come before the command line's."""
HERE = Path(__file__).parents[3]
_ACCESS_LINE = "framehook.access"
_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    [replica_entry.REPLICA_CLOCK, replica_entry.__name__, "tests.faults.mutations"]
)


class Replica:
    """One `framehook serve`."""

    def __init__(
        self, folder: Path, name: str, settings: Mapping[str, str], *, program: Sequence[str] = SERVE
    ) -> None:
        """Create a replica; `program` is the service's own command line unless a mutation replaces it."""
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self.busy = asyncio.Lock()
        self.started_at = 0.0  # by the monotonic clock
        self._folder = folder
        self._program = program
        self._settings = settings
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        name, *words = self._program
        words += ["serve", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = fork(self._folder, self.log, self._settings, words, name)
        self.started_at = time.monotonic()

    async def wait_ready(self, http: httpx.AsyncClient) -> None:
        """Wait until the replica answers; restart it if it has exited, as an operator would."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if (await http.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)).status_code == 200:
                    return
            if not self.running:
                self.start()
            await asyncio.sleep(LOOK_SECONDS)
        raise RequestUnanswered(f"{self.log.name}: the replica did not become ready\n{self.tail()}")

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.join()

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is None:
            return
        self.thaw()
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if self.running:
            self.kill()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def tail(self, size: int = 8_000) -> str:
        """Return the end of the log without the line of every request."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        lines = [line for line in lines if _ACCESS_LINE not in line]
        return "\n".join(lines)[-size:]


def fork(
    folder: Path, log: Path, settings: Mapping[str, str], words: Sequence[str], program: str
) -> ForkServerProcess:
    """Start a process that runs the function `program` with these words, and ends with this one."""
    environment = {"PYTHONPATH": str(HERE), **_environment(), **settings}
    start = Start(folder, log, environment, tuple(words), program)
    process = _forking.Process(target=replica_entry.run, args=(start,), daemon=True)
    process.start()
    return process


def list_runs(scratch: Path) -> list[int]:
    """Return the processes of runs that work in this scratch folder."""
    return find_lock_holders(lambda folder: folder.parent == scratch)


def describe_process(pid: int) -> str:
    """Describe what a process is doing, for a report."""
    with suppress(OSError):
        folder = Path(f"/proc/{pid}")
        state = (folder / "status").read_text().partition("State:")[2].split("\n")[0].strip()
        return f"run {pid} {state}: waits in {(folder / 'wchan').read_text()}"
    return f"run {pid} is gone"


def kill_run(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Return this environment without the developer's own settings."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}
