"""A thousand exports in flight on Modal, beside the bare SDK and the usual code.

A local control plane accepts every call and runs none. Each variant is a process, measured from outside until the
control plane holds all of its calls, or a limit passes. Framehook's time includes what makes a call useful: the HTTP
request, its checks, a durable row, the signed URLs and the stored call id.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import Server, serve_framehook
from tests.bench.measure.submissions import CONNECTIONS, submit_exports
from tests.support.live_server import free_port

SCRIPT = Path(__file__).parents[1] / "baselines" / "modal_calls.py"
BARE = "bare: spawn.aio, nothing stored"
WAYS = {
    BARE: "spawn",
    "Framehook's runner alone": "runner",
    "usual: run_in_executor(None, fn.remote)": "executor",
    "usual: a thread each": "threads",
}
FRAMEHOOK = "Framehook: HTTP, row, spawn, call id"
PATIENCE_SECONDS = 40.0
LOOK_SECONDS = 0.02
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Cost:
    """One variant once: calls in flight, the time until then, and what it holds since."""

    calls: int
    seconds: float
    cpu_seconds: float
    threads: int
    megabytes: float


class ControlPlane:
    """The control plane, known by its environment and by the file that holds its calls."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._rows = folder / "state.sqlite3"

    def calls(self) -> int:
        """Return how many calls it holds."""
        with closing(sqlite3.connect(self._rows)) as rows:
            return int(rows.execute("SELECT count(*) FROM calls WHERE finished_at = 0").fetchone()[0])


@contextmanager
def start_control_plane(folder: Path, *, hold_calls: bool = True) -> Iterator[ControlPlane]:
    """Start a control plane with the app deployed that holds every call, or runs it."""
    held = json.dumps({"hold_calls": hold_calls})
    command = [
        sys.executable,
        "-m",
        "infra.modal_local",
        "--json",
        "--faults",
        held,
        "--state-dir",
        str(folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            environment = json.loads(process.stdout.readline())
            subprocess.run(
                [sys.executable, "-m", "modal", "deploy", "-m", "gpu.modal_app"],
                env={**os.environ, **environment, "MODAL_APP_NAME": "framehook"},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            yield ControlPlane(environment, folder)
        finally:
            process.terminate()


def measure_calls(held: ControlPlane, process: Server, start: Callable[[], object], count: int) -> Cost:
    """Start an idle process and watch it until its calls are in flight."""
    calls, cpu, memory, threads = held.calls(), process.cpu_seconds(), process.rss_bytes(), _threads(process)
    began = time.perf_counter()
    start()
    while (source := held.calls() - calls) < count and time.perf_counter() < began + PATIENCE_SECONDS:
        time.sleep(LOOK_SECONDS)
    took = time.perf_counter() - began
    return Cost(
        source,
        took,
        process.cpu_seconds() - cpu,
        _threads(process) - threads,
        (process.rss_bytes() - memory) / MEBIBYTE,
    )


def measure_baseline(held: ControlPlane, name: str, count: int) -> Cost:
    """Measure one of the ways without Framehook."""
    command = [sys.executable, str(SCRIPT), name, str(count)]
    environment = {**os.environ, **held.environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout
            assert process.stdin
            process.stdout.readline()
            process.stdin.write(b"\n")
            return measure_calls(held, Server(0, process), process.stdin.flush, count)
        finally:
            process.kill()


def measure_exports(held: ControlPlane, folder: Path, count: int) -> Cost:
    """Measure exports of one user, submitted over HTTP after a first one."""
    port = free_port()
    environment = {
        **held.environment,
        "MODAL_ENABLED": "true",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "MAX_ACTIVE_PER_USER": str(count + CONNECTIONS),
        "MAX_QUEUED_PER_USER": str(count + CONNECTIONS),
    }
    source = folder / "objects" / "local" / "uploads" / "match.mp4"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"a video")
    with serve_framehook(folder, environment, port=port) as server:
        measure_calls(held, server, lambda: submit(port, CONNECTIONS), CONNECTIONS)
        return measure_calls(held, server, lambda: submit(port, count), count)


def submit(port: int, count: int) -> None:
    """Submit exports, several at a time."""
    crop = {"keyframes": [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]}
    body = {"type": "framing", "config": {"input_key": "uploads/match.mp4", **crop}}
    asyncio.run(submit_exports(f"http://127.0.0.1:{port}", body, count))


def _threads(server: Server) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Threads:")))


def run(options: Options) -> list[Figure]:
    """Measure all variants in turn."""
    samples, calls = Samples(), options.sizes["calls"]
    with (
        tempfile.TemporaryDirectory(prefix="framehook-bench-") as name,
        start_control_plane(Path(name) / "plane") as held,
    ):
        for number, variant in enumerate(alternate([FRAMEHOOK, *WAYS], options.rounds)):
            if variant == FRAMEHOOK:
                cost = measure_exports(held, Path(name) / str(number), calls)
            else:
                cost = measure_baseline(held, WAYS[variant], calls)
            samples.add(variant, "in flight", cost.calls, "count")
            samples.add(variant, "time each", cost.seconds / max(1, cost.calls) * 1e3, "ms")
            samples.add(variant, "CPU each", cost.cpu_seconds / max(1, cost.calls) * 1e3, "ms")
            samples.add(variant, "threads", cost.threads, "count")
            samples.add(variant, "memory over idle", cost.megabytes, "MiB")
    samples.add_ratios("CPU each", base=BARE, name="CPU, ratio")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="Exports in flight on a local Modal control plane, beside the bare SDK and the usual code; those that "
    f"cannot hold all calls are stopped after {PATIENCE_SECONDS:.0f} s.",
    run=run,
    rounds=3,
    sizes={"calls": Size(1_000, smoke=4)},
)
