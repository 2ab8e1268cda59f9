"""`make bench-modal`: what a thousand exports in flight on Modal cost the service, the bare SDK, and the usual code.

A local control plane takes every call and runs none. Each variant is a process of its own, measured from outside:
until the plane holds all of its calls, or for as long as it may take. Framehook's time includes what a call is not
worth having without: the request over HTTP, its check, a durable row, the signed URLs, and the row's call id.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.measure.servers import Server, framehook, free_port

SECRET = "a secret that is long enough for a benchmark"
SCRIPT = Path(__file__).parents[1] / "baselines" / "modal_calls.py"
WAYS = {
    "bare: spawn.aio, nothing stored": "spawn",
    "Framehook's runner alone": "runner",
    "usual: run_in_executor(None, fn.remote)": "executor",
    "usual: a thread each": "threads",
}
FRAMEHOOK = "Framehook: HTTP, row, spawn, call id"
CONNECTIONS = 16
PATIENCE_SECONDS = 40.0
LOOK_SECONDS = 0.02
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Cost:
    """One variant once: how many calls came to be in flight, how long that took, and what it holds since."""

    calls: int
    seconds: float
    cpu_seconds: float
    threads: int
    megabytes: float


class Plane:
    """The control plane, known by its environment and by the file that it keeps calls in."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._rows = folder / "state.sqlite3"

    def calls(self) -> int:
        """How many calls it holds."""
        with closing(sqlite3.connect(self._rows)) as rows:
            return int(rows.execute("SELECT count(*) FROM calls WHERE finished_at = 0").fetchone()[0])


@contextmanager
def plane(folder: Path, *, hold_calls: bool = True) -> Iterator[Plane]:
    """A control plane that holds every call, or runs it, with the app deployed to it."""
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
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        environment = json.loads(process.stdout.readline())
        subprocess.run(
            [sys.executable, "-m", "modal", "deploy", "-m", "gpu.modal_app"],
            env={**os.environ, **environment, "MODAL_APP_NAME": "framehook"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        yield Plane(environment, folder)
    finally:
        process.terminate()
        process.wait(20)


def measured(held: Plane, process: Server, start: Callable[[], object], count: int) -> Cost:
    """Let a process that is idle begin, and watch it until its calls are in flight."""
    calls, cpu, memory, threads = held.calls(), process.cpu_seconds(), process.rss_bytes(), _threads(process)
    began = time.perf_counter()
    start()
    while (made := held.calls() - calls) < count and time.perf_counter() < began + PATIENCE_SECONDS:
        time.sleep(LOOK_SECONDS)
    took = time.perf_counter() - began
    return Cost(
        made,
        took,
        process.cpu_seconds() - cpu,
        _threads(process) - threads,
        (process.rss_bytes() - memory) / MEBIBYTE,
    )


def way(held: Plane, name: str, count: int) -> Cost:
    """One of the ways without Framehook."""
    command = [sys.executable, str(SCRIPT), name, str(count)]
    environment = {**os.environ, **held.environment}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdin
        process.stdout.readline()
        process.stdin.write(b"\n")
        return measured(held, Server(0, process), process.stdin.flush, count)
    finally:
        process.kill()
        process.wait()


def exports(held: Plane, folder: Path, count: int) -> Cost:
    """Exports of one user, asked for over HTTP; the service has made one before."""
    port = free_port()
    environment = {
        **held.environment,
        "MODAL_ENABLED": "true",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "MAX_ACTIVE_PER_USER": str(2 * count),
        "MAX_QUEUED_PER_USER": str(2 * count),
    }
    source = folder / "objects" / "local" / "uploads" / "match.mp4"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"a video")
    with framehook(folder, environment, secret=SECRET, port=port) as server:
        measured(held, server, lambda: asyncio.run(submit(port, CONNECTIONS)), CONNECTIONS)
        return measured(held, server, lambda: asyncio.run(submit(port, count)), count)


async def submit(port: int, count: int) -> None:
    """Ask for so many exports, several at a time."""
    crop = {"keyframes": [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]}
    body = {"type": "framing", "config": {"input_key": "uploads/match.mp4", **crop}}
    few = asyncio.Semaphore(CONNECTIONS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:

        async def one() -> None:
            async with few:
                (await http.post("/api/exports", json=body)).raise_for_status()

        await asyncio.gather(*(one() for _ in range(count)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.modal.in_flight", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1_000)
    asked = parser.parse_args()
    costs: dict[str, list[Cost]] = {name: [] for name in (FRAMEHOOK, *WAYS)}
    with (
        tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder,
        plane(Path(folder) / "plane") as held,
    ):
        for number in range(asked.rounds):
            costs[FRAMEHOOK].append(exports(held, Path(folder) / str(number), asked.calls))
            for name, kind in WAYS.items():
                costs[name].append(way(held, kind, asked.calls))
    _print(costs, asked.calls, asked.rounds)


def _print(costs: dict[str, list[Cost]], calls: int, rounds: int) -> None:
    print(f"{calls} calls, medians of {rounds} rounds, {os.cpu_count()} cores")
    print(
        f"{'variant':42} {'in flight':>9} {'ms each':>8} {'ratio':>6} {'CPU ms':>7} {'ratio':>6} "
        f"{'threads':>7} {'MiB':>6}"
    )
    bare = costs[next(iter(WAYS))]
    for name, found in costs.items():
        each = [cost.seconds / max(1, cost.calls) * 1e3 for cost in found]
        cpu = [cost.cpu_seconds / max(1, cost.calls) * 1e3 for cost in found]
        by_time = [one / (base.seconds / base.calls * 1e3) for one, base in zip(each, bare, strict=True)]
        by_cpu = [one / (base.cpu_seconds / base.calls * 1e3) for one, base in zip(cpu, bare, strict=True)]
        middle = statistics.median
        print(
            f"{name:42} {middle(cost.calls for cost in found):9.0f} {middle(each):8.2f} {middle(by_time):6.2f} "
            f"{middle(cpu):7.2f} {middle(by_cpu):6.2f} {middle(cost.threads for cost in found):7.0f} "
            f"{middle(cost.megabytes for cost in found):6.1f}"
        )


def _threads(server: Server) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Threads:")))


if __name__ == "__main__":
    main()
