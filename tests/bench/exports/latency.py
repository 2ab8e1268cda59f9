"""How soon an export on this machine starts and ends, with runs that are forked and with new interpreters.

Two services that differ in FORK_SERVER export the same part of a film in turn. Times are from before the POST to when
a reader of the export's events has the state. CPU is of the service and all processes below it. Memory is proportional
(PSS): a page that several processes share counts once.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.large_files.large_client import User
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import Server, list_tree, serve_framehook
from tests.bench.video.peers import prepare_film

INTERPRETER, FORKED = "a new interpreter for each process", "forked"
VARIANTS = {INTERPRETER: "false", FORKED: "true"}
PHASES = ("queued", "starting", "downloading", "processing", "uploading", "finalizing", "done")
STATES = {"first frame": "processing", "last frame": "uploading", "complete": "done"}
"""The phase in which an export is once that has happened."""
EXPORTS = 2
MEBIBYTE = 2**20
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Service:
    """A running service, a user who exports, and how many processes are below it while nothing runs."""

    server: Server
    user: User
    config: Mapping[str, Any]
    idle_processes: int

    def memory_below(self) -> float:
        """Return the memory of all processes below the service, in MiB."""
        return sum(map(_read_pss_bytes, list_tree(self.server.process.pid)[1:])) / MEBIBYTE

    def export(self) -> dict[str, float]:
        """Export once; return the milliseconds until each state."""
        states = self.user.export("framing", dict(self.config))
        assert states[-1].job["status"] == "complete", states[-1].job
        times = {"answered": states[0].seconds}
        times["run started"] = next(state.seconds for state in states if state.job["status"] != "pending")
        for name, phase in STATES.items():
            reached = (state for state in states if PHASES.index(state.job["phase"]) >= PHASES.index(phase))
            times[name] = next(reached).seconds
        while len(list_tree(self.server.process.pid)) > 1 + self.idle_processes:
            time.sleep(LOOK_SECONDS)  # the CPU time of a run counts once its parent knows that it has ended
        return {name: seconds * 1e3 for name, seconds in times.items()}


@contextmanager
def open_service(folder: Path, film: Path, seconds: int, **settings: str) -> Iterator[Service]:
    """Start a service that has exported once and has its fork server."""
    limits = {"LOCAL_WORKERS": str(EXPORTS), **settings}
    with serve_framehook(folder, limits) as server, User(f"http://127.0.0.1:{server.port}") as user:
        crop = {"time": 0, "x": 0, "y": 0, "width": 640, "height": 360}
        config = {"keyframes": [crop], "trim": {"start": 0, "end": seconds}, "output_width": 640}
        config |= {"quality": "draft", "input_key": user.upload(film)}
        service = Service(server, user, config, int(settings.get("FORK_SERVER") != "false"))
        service.export()
        yield service


def measure_memory(service: Service) -> float:
    """Return the most memory below the service while EXPORTS run at the same time, in MiB."""
    peak = 0.0
    with ThreadPoolExecutor(EXPORTS) as threads:
        running = [threads.submit(service.export) for _ in range(EXPORTS)]
        while not all(export.done() for export in running):
            peak = max(peak, service.memory_below())
            time.sleep(LOOK_SECONDS)
    for export in running:
        export.result()
    return peak


def run(options: Options) -> list[Figure]:
    """Export with each service in turn."""
    seconds, samples = options.sizes["seconds"], Samples()
    film = prepare_film(seconds, height=720)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        services = {
            variant: stack.enter_context(open_service(folder / value, film, seconds, FORK_SERVER=value))
            for variant, value in VARIANTS.items()
        }
        for variant, service in alternate(list(services.items()), options.rounds):
            cpu_seconds = service.server.tree_cpu_seconds()
            for state, milliseconds in service.export().items():
                samples.add(variant, state, milliseconds, "ms")
            samples.add(variant, "CPU", (service.server.tree_cpu_seconds() - cpu_seconds) * 1e3, "ms")
            samples.add(variant, "memory, idle", service.memory_below(), "MiB")
            samples.add(variant, f"memory, {EXPORTS} runs", measure_memory(service), "MiB")
    for measure in ("first frame", "complete", "CPU"):
        samples.add_ratios(measure, base=INTERPRETER)
    return samples.to_figures()


def _read_pss_bytes(pid: int) -> int:
    with suppress(OSError, StopIteration):  # a process that is about to end has no such line
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
    return 0


BENCHMARK = Benchmark(
    description="Time from POST to the states of a short export on this machine, and its CPU time and memory, with "
    "processes that are forked, beside new interpreters.",
    run=run,
    sizes={"seconds": Size(5, smoke=1)},
)
